"""Files that commands write: over nothing without --force, through no link, and a full disk is called one."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from cli.command_line import caa, process
from support.resealed import reseal

from caa_registry.catalog import models as t
from caa_registry.catalog.database import Database
from caa_registry.cli.main import cli

# Every command that writes where it is told to; the files that it makes below OUT.
FILES = {
    "dataset export": ["dataset", "export", "team/s", "OUT/a.jsonl"],
    "dataset export csv": ["dataset", "export", "team/s", "OUT/a.csv"],
    "dataset export parquet": ["dataset", "export", "team/s", "OUT/a.parquet"],
    "dataset recipe": ["dataset", "recipe", "team/s", "--out", "OUT/a.json"],
    "dataset review": ["dataset", "review", "team/s", "--to-csv", "OUT/a.csv"],
    "vector tokens": ["vector", "tokens", "team/s", "Is it?", "--layer", "1", "--html", "OUT/a.html"],
    "eval plot": ["eval", "plot", "1", "--out", "OUT"],
    "eval report": ["eval", "report", "team/s", "--out", "OUT"],
    "vector plot": ["vector", "plot", "team/s", "--out", "OUT"],
}


def command(name: str, out: Path, *more: str) -> list[str]:
    return [part.replace("OUT", str(out)) for part in FILES[name]] + list(more)


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_replaced_without_force_and_no_link_is_followed(full: Path, tmp_path: Path, name: str) -> None:
    out, mine = tmp_path / "out", tmp_path / "mine"
    out.mkdir()
    assert caa(*command(name, out)).code == 0
    made = {path.name: path.read_bytes() for path in out.iterdir()}
    assert made and not [file for file in made if file.startswith(".") or file.endswith(".part")]
    for change in ("text", "link"):
        for file in made:
            (out / file).unlink()
        mine.write_text("mine")
        victim = sorted(made)[-1]
        if change == "text":
            (out / victim).write_text("mine")
        else:
            (out / victim).symlink_to(mine)
        result = caa(*command(name, out))
        assert result.code == 2 and str(out / victim) in result.err and "--force" in result.err
        assert [path.name for path in out.iterdir()] == [victim] and (out / victim).read_text() == "mine"
        assert caa(*command(name, out, "--force")).code == 0
        assert {path.name for path in out.iterdir()} == set(made) and mine.read_text() == "mine"
        assert not (out / victim).is_symlink()


@pytest.mark.parametrize("format_", ["datasets", "caa"])
def test_a_folder_with_content_keeps_what_is_not_written_anew(full: Path, tmp_path: Path, format_: str) -> None:
    out = tmp_path / "out"
    export = ["dataset", "export", "team/s", out, "--format", format_]
    out.mkdir()
    assert caa(*export).code == 0  # an empty folder is as good as none
    made = {path.relative_to(out) for path in out.rglob("*")}
    (out / "thesis.txt").write_text("years")
    changed = max(path for path in made if (out / path).is_file())
    (out / changed).write_text("changed")
    assert caa(*export).code == 2 and (out / changed).read_text() == "changed"
    assert caa(*export, "--force").code == 0
    assert (out / "thesis.txt").read_text() == "years" and (out / changed).read_text() != "changed"
    assert {path.relative_to(out) for path in out.rglob("*")} == {*made, Path("thesis.txt")}
    folder = next(path for path in made if (out / path).is_dir() and len(path.parts) == 1)
    (out / folder).rename(tmp_path / "elsewhere")
    (out / folder).symlink_to(tmp_path / "elsewhere")
    before = {path: path.read_bytes() for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()}
    result = caa(*export, "--force")
    assert result.code == 2 and "is a symbolic link" in result.err
    assert before == {path: path.read_bytes() for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()}
    (tmp_path / "link").symlink_to(out)
    assert caa("dataset", "export", "team/s", tmp_path / "link", "--format", format_, "--force").code == 2
    (tmp_path / "file").write_text("mine")
    assert caa("dataset", "export", "team/s", tmp_path / "file", "--format", format_, "--force").code == 2
    assert not list(tmp_path.glob(".caa-*"))


def test_every_command_that_replaces_files_says_so_in_the_same_words() -> None:
    import click

    context = click.Context(cli)
    helps = set()
    for name in FILES:
        noun, verb = name.split()[:2]
        group = cli.get_command(context, noun)
        assert isinstance(group, click.Group)
        found = group.get_command(context, verb)
        assert found is not None
        helps |= {option.help for option in found.params if option.name == "force" and isinstance(option, click.Option)}
    assert helps == {"Replace files that exist."}


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="needs /dev/stdout")
def test_a_file_may_be_stdout(full: Path, tmp_path: Path) -> None:
    done = process("vector", "tokens", "team/s", "Is it?", "--layer", "1", "--html", "/dev/stdout")
    assert done.code == 0 and "<html" in done.out, done.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["--json", "dataset", "ls"], ["dataset", "seeds"], ["--help"], ["vector", "ls"]])
def test_output_on_a_full_disk(full: Path, arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as out:
        program = [sys.executable, "-m", "caa_registry", *arguments]
        done = subprocess.run(program, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: the disk is full: the output was not written\n")
    assert "Exception ignored" not in done.stderr and "Internal" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_error_that_cannot_be_said_keeps_its_exit_code(full: Path) -> None:
    with Path("/dev/full").open("w") as err:
        for arguments, code in ((["dataset", "show", "a::"], 2), (["dataset", "show", "none"], 1)):
            done = subprocess.run([sys.executable, "-m", "caa_registry", *arguments], stderr=err, check=False)
            assert done.returncode == code


@pytest.mark.parametrize("name", ["dataset export", "dataset export csv", "dataset export parquet", "eval report"])
def test_an_export_on_a_full_disk(full: Path, tmp_path: Path, name: str) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", small]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:
        (small / "rest").write_bytes(b"x" * 4096)
        result = caa(*command(name, small))
        assert result.code == 1 and "the disk is full" in result.err and str(small) in result.err, result.err
        assert [path.name for path in small.iterdir()] == ["rest"]
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_temporary_files_on_a_full_disk_are_no_bug(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import tempfile

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/caa-x")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    result = caa("demo")
    assert result.code == 1 and result.err.startswith("Error: the disk is full: /tmp/caa-x"), result.err


def test_names_that_look_like_options_are_old_ones_only(full: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "p", "positive": "a", "negative": "b"}\n')
    for name in ("-x", "team/-x", ".hidden", "team/.x", "x.", "../x", "x/..", "/x"):
        assert caa("dataset", "import", rows, f"--name={name}").code == 2
        assert caa("dataset", "filter", "team/s", "split == 'test'", f"--name={name}").code == 2
        assert caa("vector", "compute", "--dataset", "team/s", "--", name).code == 2
    connection = sqlite3.connect(full)
    connection.execute("UPDATE dataset SET name = '-old' WHERE name = 'team/s'")
    connection.execute("UPDATE vector SET name = '-old' WHERE name = 'team/s'")
    connection.commit()
    connection.close()
    with Database.open(f"sqlite:///{full}", create=False) as database, database.write() as session:
        reseal(session, t.Dataset, t.Vector)
    assert "-old" in caa("dataset", "ls").out and "-old" in caa("vector", "ls").out
    assert caa("dataset", "show", "--", "-old").code == 0
    assert caa("vector", "show", "vector:-old").code == 0
    assert caa("dataset", "import", rows, "--name=-old").code == 0
    assert caa("dataset", "show", "dataset:-old:v2").code == 0


def test_a_hostile_behavior_or_split_is_no_path(full: Path, tmp_path: Path) -> None:
    from caa_registry.errors import UsageError
    from caa_registry.pairs.export.caa_layout import write_caa
    from caa_registry.pairs.record import Pair, PairItem
    from caa_registry.registry.datasets.export import _check_splits

    item = PairItem(Pair("p", "a", "b"), "generate")
    for behavior in ("../../evil", "/evil", "a/../../evil", "a\x00b"):
        with pytest.raises(UsageError):
            write_caa([item], tmp_path / "out", behavior)
    for split in ("../evil", "/evil", "a/b", "..", "a\x00"):
        with pytest.raises(UsageError):
            _check_splits([PairItem(Pair("p", "a", "b"), split)])
    assert not (tmp_path / "out").exists()


def test_init_shared_says_who_may_use_it(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        for options, mode in ((["--shared"], 0o664), ([], 0o600)):
            path = tmp_path / f"{len(options)}.db"
            assert caa("init", "--registry", path, *options).code == 0
            assert path.stat().st_mode & 0o777 == mode
    finally:
        os.umask(before)
