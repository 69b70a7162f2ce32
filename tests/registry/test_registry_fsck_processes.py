"""A large registry is checked by two processes, which see one moment of it and together find what one finds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from registry.test_registry_fsck import TAMPERED
from support.changed import change

import caa_registry as caa
from caa_registry.registry.maintenance import second
from caa_registry.registry.maintenance.second import Second
from caa_registry.registry.records import FsckReport

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="it takes two cores")


@pytest.fixture
def copy(tmp_path: Path, whole: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "it's 100% a copy.db"))


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[second.Part | None]:
    """What a second process told, in every check of a registry; any is large enough for two."""
    told: list[second.Part | None] = []
    part = Second.part

    def kept(self: Second) -> second.Part | None:
        told.append(part(self))
        return told[-1]

    monkeypatch.setattr(second, "_LARGE", 0)
    monkeypatch.setattr(Second, "part", kept)
    return told


def checked(path: Path, *, read_only: bool = False) -> FsckReport:
    with caa.open(str(path), read_only=read_only) as registry:
        return registry.fsck()


def by_one(path: Path) -> FsckReport:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(second, "_LARGE", 10**12)
        return checked(path)


def test_two_processes_look_at_what_one_does(copy: Path, parts: list[second.Part | None]) -> None:
    seen: list[tuple[int, int]] = []
    with caa.open(str(copy)) as registry:
        report = registry.fsck(progress=lambda done, total: seen.append((done, total)))
    (part,) = parts
    assert part is not None and {"database": 1, "vectors": 3, "evaluations": 5}.items() <= part.checked.items()
    assert report == by_one(copy) and list(report.checked) == list(by_one(copy).checked) and len(parts) == 1
    assert all(done <= total for done, total in seen) and seen[-1] == (1, 1)
    assert checked(copy, read_only=True) == report and len(parts) == 2


def test_two_processes_find_what_one_does(copy: Path, parts: list[second.Part | None]) -> None:
    for statements, _ in TAMPERED.values():
        change(copy, *statements)
    report, alone = checked(copy), by_one(copy)
    assert report.checked == alone.checked and set(report.faults) == set(alone.faults)
    assert len(report.faults) == len(alone.faults) and len(parts) == 1 and parts[0] is not None
    assert {fault.check for fault in parts[0].faults} == {"datasets", "vectors", "evaluations"}
    assert len(report.faults) > len(parts[0].faults) + 20


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE meta SET value = CAST(X'ff' AS TEXT) WHERE key = 'audit_head'",
        "UPDATE meta SET value = X'ff' WHERE key = 'audit_head'",
        "UPDATE score SET metric = CAST(X'ff' AS TEXT) WHERE rowid = (SELECT max(rowid) FROM score)",
    ],
)
def test_whatever_a_cell_holds_both_say_so(statement: str, copy: Path, parts: list[second.Part | None]) -> None:
    change(copy, statement)
    report = checked(copy)
    assert report.damage and report == by_one(copy) and len(parts) == 1 and parts[0] is not None


def test_what_is_written_between_two_beginnings_is_seen_by_both(
    copy: Path, parts: list[second.Part | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, written = Second.begin, []

    def late(self: Second) -> object:
        if len(written) < 3:
            with caa.open(str(copy), actor="bob") as other:
                other.aliases.set("team/praise:v1", f"a{len(written)}")
            written.append(1)
        return begin(self)

    monkeypatch.setattr(Second, "begin", late)
    events = checked(copy).checked["events"]
    assert len(written) == 3 and len(parts) == 1 and events == by_one(copy).checked["events"]


def test_where_there_is_no_common_moment_one_process_does_it(
    copy: Path, parts: list[second.Part | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Second.begin

    def late(self: Second) -> object:
        with caa.open(str(copy), actor="bob") as other:
            other.blobs.put(b"no event tells of this")
        return begin(self)

    monkeypatch.setattr(Second, "begin", late)
    report = checked(copy)
    assert parts == [] and report.damage == () and report.checked == by_one(copy).checked


def test_others_write_meanwhile(copy: Path, parts: list[second.Part | None]) -> None:
    stop = threading.Event()

    def write() -> None:
        with caa.open(str(copy), actor="bob") as other:
            while not stop.is_set():
                other.aliases.set("team/praise:v1", "moved")
                other.aliases.remove("team/praise:moved")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(2):
            assert checked(copy).faults == ()
    finally:
        stop.set()
        writer.join()


def test_what_a_process_that_was_killed_did_not_do_is_done(
    copy: Path, parts: list[second.Part | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    change(copy, "UPDATE score SET value = 0.99", "UPDATE vector_layer SET norm = norm * 2")
    expected = by_one(copy)
    go = Second.go

    def killed(self: Second) -> None:
        for child in psutil.Process().children():
            child.kill()
            child.wait()
        go(self)

    monkeypatch.setattr(Second, "go", killed)
    assert checked(copy) == expected and parts == [None]


def test_a_process_that_cannot_begin_is_done_without(
    copy: Path, parts: list[second.Part | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    assert checked(copy) == by_one(copy) and parts == []


def test_no_process_is_left_of_a_check_that_was_interrupted(copy: Path, parts: list[second.Part | None]) -> None:
    running: list[psutil.Process] = []

    def interrupt(done: int, total: int) -> None:
        running.extend(psutil.Process().children())
        raise KeyboardInterrupt

    with caa.open(str(copy)) as registry, pytest.raises(KeyboardInterrupt):
        registry.fsck(progress=interrupt)
    assert len(running) == 1 and not running[0].is_running() and parts == []


def test_no_process_waits_for_one_that_was_killed(copy: Path) -> None:
    code = (
        "import sys, caa_registry as caa\n"
        "from caa_registry.registry.maintenance import second\n"
        "def wait(self):\n"
        "    print('ready', flush=True)\n"
        "    sys.stdin.read()\n"
        "second._LARGE, second.Second.go = 0, wait\n"
        "caa.open(sys.argv[1]).fsck()\n"
    )
    command = [sys.executable, "-c", code, str(copy)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        (child,) = psutil.Process(process.pid).children()
        process.kill()
        child.wait(60)
