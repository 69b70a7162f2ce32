"""Every operation where the disk takes nothing: it says so in plain words, and leaves everything as it was."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from catalog.test_catalog_files import fill_up
from cli.command_line import caa
from registry.registry_support import dump, jsonl, letters

import caa_registry

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))

from fault_operations import OPERATIONS, Operation

# Those that write to a registry that is there, or copy it, and compute nothing.
WRITING = [each for each in OPERATIONS if each.target == "registry.db" and each.name not in ("compute", "evaluate")]


def arguments(operation: Operation, registry: Path, work: Path) -> list[str]:
    return ["--registry", str(registry), *(word.format(work=work) for word in operation.arguments)]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    jsonl(tmp_path / "more.jsonl", letters(6))
    return tmp_path


def test_a_read_only_disk_refuses_every_operation_and_lets_everything_be_read(unwritable: Path, work: Path) -> None:
    before = unwritable.read_bytes()
    for operation in [each for each in WRITING if not each.before]:
        for options in ((), ("--read-only",)):
            done = caa(*options, *arguments(operation, unwritable, work))
            assert done.code == 1 and done.err.startswith("Error: "), (operation.name, done.err)
            assert "cannot be written" in done.err or "read-only" in done.err, (operation.name, done.err)
    backup = ("backup", unwritable.with_name("backup.db"))
    assert caa("--read-only", "--registry", unwritable, *backup).code == 1
    assert caa("restore", unwritable, "--registry", unwritable.with_name("new.db")).code == 1
    assert [path.name for path in unwritable.parent.iterdir()] == ["registry.db"]
    for reading in (
        ("fsck",),
        ("dataset", "ls"),
        ("dataset", "show", "team/dishes:v1"),
        ("vector", "ls"),
        ("vector", "show", "team/praise:v1"),
        ("eval", "ls"),
        ("eval", "show", "1"),
        ("alias", "ls"),
        ("lineage", "team/praise:v1"),
        ("log", "verify"),
        ("gc", "--dry-run"),
    ):
        done = caa("--read-only", "--registry", unwritable, *reading)
        assert done.code == 0, (reading, done.err)
    assert unwritable.read_bytes() == before
    assert [path.name for path in unwritable.parent.iterdir()] == ["registry.db"]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system that holds little more than a registry."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("a small file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_stops_every_operation_and_space_lets_it_go_on(small: Path, work: Path, whole: Path) -> None:
    path = small / "registry.db"
    for number, operation in enumerate(WRITING):
        spare = 60_000 * (number % 2)  # bytes that are left: none, or enough to begin, and not to end
        shutil.copy(whole, path)
        for command in operation.before:
            assert caa("--registry", path, *command).code == 0
        start = dump(f"sqlite:///{path}")
        (small / "spare").write_bytes(bytes(spare))
        rest = fill_up(small)
        (small / "spare").unlink()
        done = caa(*arguments(operation, path, work))
        if done.code:
            assert done.code == 1 and "the disk is full" in done.err, (operation.name, done.err)
        rest.unlink()
        if done.code:
            assert dump(f"sqlite:///{path}") == start, operation.name
            assert caa(*arguments(operation, path, work)).code == 0, operation.name
        with caa_registry.open(str(path)) as registry:
            assert registry.fsck().damage == (), operation.name
        assert dump(f"sqlite:///{path}") != start
    rest = fill_up(small)
    assert caa("--registry", path, "backup", small / "backup.db").code == 1
    assert caa("restore", whole, "--registry", small / "new.db").code == 1
    rest.unlink()
    assert {each.name.removesuffix("-wal").removesuffix("-shm") for each in small.iterdir()} == {"registry.db"}
