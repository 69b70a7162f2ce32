"""Files that are written: whole or not at all, over nothing, through no link, and with plain words for a full disk."""

from __future__ import annotations

import ast
import errno
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from caa_registry import disk, settings
from caa_registry.errors import CaaError, InputError, UsageError, WriteError

PACKAGE = Path(disk.__file__).parent


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("a small file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_nothing_is_replaced_unasked_and_no_link_is_followed(tmp_path: Path) -> None:
    mine, link, dangling = tmp_path / "mine", tmp_path / "link", tmp_path / "dangling"
    mine.write_text("mine")
    link.symlink_to(mine)
    dangling.symlink_to(tmp_path / "elsewhere")
    for path in (mine, link, dangling):
        with pytest.raises(UsageError, match=f"{path.name} (exists|is a symbolic link)"):
            disk.write_new(path, b"new")
        with pytest.raises(UsageError):
            disk.check_new(path)
    assert mine.read_text() == "mine" and link.is_symlink() and not (tmp_path / "elsewhere").exists()
    for path in (link, dangling):
        disk.write_new(path, b"new", force=True)
        assert path.read_text() == "new" and not path.is_symlink()
    assert mine.read_text() == "mine" and not (tmp_path / "elsewhere").exists()
    mine.chmod(0o640)
    disk.write_new(mine, b"new", force=True)
    assert mine.read_text() == "new" and stat.S_IMODE(mine.stat().st_mode) == 0o640


def test_what_appears_meanwhile_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out"

    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    for hard_links in (True, False):
        if not hard_links:
            monkeypatch.setattr(os, "link", no_links)
            disk.write_new(tmp_path / "free", b"new")
            assert (tmp_path / "free").read_text() == "new"
        path.unlink(missing_ok=True)
        with pytest.raises((UsageError, WriteError)), disk.new(path) as part:
            part.write_text("new")
            path.write_text("somebody's")
        assert path.read_text() == "somebody's"


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    path = tmp_path / "out"
    for force in (False, True):
        with pytest.raises(ZeroDivisionError), disk.new(path, force=force) as part:
            part.write_text("half")
            raise ZeroDivisionError
    path.write_text("whole")
    with pytest.raises(KeyboardInterrupt), disk.new(path, force=True) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert [each.name for each in tmp_path.iterdir()] == ["out"] and path.read_text() == "whole"


def test_a_missing_folder_a_folder_and_a_device(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        disk.write_new(tmp_path / "none" / "out", b"x")
    for force in (False, True):
        with pytest.raises(UsageError, match="is a folder"):
            disk.write_new(tmp_path, b"x", force=force)
        disk.write_new(Path(os.devnull), b"x", force=force)
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_a_name_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    disk.write_new(path, b"x")
    with pytest.raises(WriteError, match="cannot be written"):
        disk.write_new(tmp_path / ("x" * 256), b"x")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_device_that_is_full() -> None:
    with pytest.raises(WriteError, match="the disk is full: /dev/full was not written"):
        disk.write_new(Path("/dev/full"), b"x")


def test_a_full_disk(small: Path) -> None:
    path = small / "out"
    path.write_text("whole")
    for force, target in ((True, path), (False, small / "other")):
        with pytest.raises(WriteError, match=f"the disk is full: {target} was not written") as caught:
            disk.write_new(target, b"x" * 2_000_000, force=force)
        assert "Free some space" in caught.value.hint
    with pytest.raises(OSError, match="No space"):
        disk.keep(small / "cache" / "entry", b"x" * 2_000_000)
    assert path.read_text() == "whole"
    assert [each for each in small.rglob("*") if each.is_file()] == [path]


def test_a_read_only_file_system(small: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    with pytest.raises(WriteError, match="lies on a read-only file system"):
        disk.write_new(small / "out", b"x")


def test_words_of_libraries_that_know_no_error_numbers() -> None:
    for text in (
        'Error while serializing: IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })',
        "I/O error: No space left on device (os error 28)",
        "database or disk is full",
        "[Errno 122] Disk quota exceeded",
        'could not extend file "base/1/2": No space left on device',
    ):
        refusal = disk.refused(RuntimeError(text), "x")
        assert refusal is not None and "the disk is full" in refusal.message
    try:
        try:
            raise OSError(errno.ENOSPC, "x")
        except OSError as cause:
            raise ValueError("cannot save") from cause
    except ValueError as error:
        assert disk.is_full(error)
    for error in (
        InputError("a text says: the disk is full"),
        FileNotFoundError(errno.ENOENT, "No such file", "disk is full.txt"),
        ValueError("x"),
    ):
        assert not disk.is_full(error)
    for number, words in ((errno.EACCES, "permission denied"), (errno.EROFS, "read-only"), (errno.EIO, "cannot be")):
        refusal = disk.refused(OSError(number, os.strerror(number)), "x")
        assert refusal is not None and words in refusal.message and refusal.hint and isinstance(refusal, CaaError)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277])
def test_what_is_kept_is_for_its_owner(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        disk.keep(tmp_path / "a" / "b" / "entry", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a" / "b" / "entry").stat().st_mode) == 0o600
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "a/b")} == {0o700}


def test_files_of_others_and_links_are_not_own(tmp_path: Path) -> None:
    path = tmp_path / "entry"
    path.write_text("x")
    (tmp_path / "link").symlink_to(path)
    assert disk.is_own(path) and not disk.is_own(tmp_path / "link") and not disk.is_own(tmp_path / "none")
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
        assert not disk.is_own(path)


def test_nothing_is_unpickled() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name.split(".")[0] for alias in node.names} | {str(getattr(node, "module", ""))}
                assert not names & {"pickle", "dill", "joblib", "shelve", "marshal"}, path
            if isinstance(node, ast.Call):
                call = ast.unparse(node.func)
                assert call not in ("np.load", "numpy.load", "torch.load", "yaml.load", "eval", "exec"), path


def test_a_home_folder_of_nobody_is_a_name_like_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert disk.expanded("~/x") == Path.home() / "x" and disk.expanded("a/~b") == Path("a/~b")
    assert disk.expanded("~no-such-user/x") == Path("~no-such-user/x")
    monkeypatch.chdir(tmp_path)
    assert settings.registry_url("~no-such-user/x.db") == f"sqlite:///{tmp_path}/~no-such-user/x.db"
