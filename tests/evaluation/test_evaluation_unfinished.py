"""What an interrupted evaluation leaves on disk."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from caa_registry.digests import digest_bytes, short
from caa_registry.engine.sweeps import Part
from caa_registry.errors import InputError
from caa_registry.evaluation.unfinished import Unfinished as Lines
from caa_registry.evaluation.unfinished import _line, header, part_as_json, part_of_json

PARTS = [
    Part(None, (0, 2), np.log(np.random.default_rng(0).random((2, 1, 2)))),
    Part(3, (0, 2), np.random.default_rng(1).normal(size=(2, 6, 2))),
    Part(4, (1,), np.random.default_rng(2).normal(size=(1, 6, 2)), True, np.random.default_rng(3).random((1, 6))),
    Part(
        5,
        (1, 4),
        *(np.random.default_rng(4).random(shape) for shape in [(2, 3, 2)]),
        False,
        np.random.default_rng(5).random((2, 3)),
        np.array([[True, False, True], [False, False, True]]),
    ),
]


class Unfinished(Lines):
    """Of parts, as an evaluation by propensity keeps them."""

    def add(self, condition: str, part: Part) -> None:  # type: ignore[override]
        super().add(condition, part_as_json(part))

    def kept(self, condition: str) -> list[Part]:  # type: ignore[override]
        return [part_of_json(kept) for kept in super().kept(condition)]


def same(one: Part, other: Part) -> bool:
    return (one.layer, one.questions, one.whole) == (other.layer, other.questions, other.whole) and (
        one.log_p.tobytes() == other.log_p.tobytes()
        and all(
            (a is None) == (b is None) and (a is None or b is None or np.array_equal(a, b))
            for a, b in ((one.kl, other.kl), (one.answers_first, other.answers_first))
        )
    )


def test_parts_come_back_bit_by_bit_under_their_condition(tmp_path: Path) -> None:
    first = Unfinished(tmp_path / "deep", {"model": "x"})
    for part in PARTS:
        first.add("vector", part)
    first.add("few-shot", PARTS[0])
    again = Unfinished(tmp_path / "deep", {"model": "x"})
    assert all(same(a, b) for a, b in zip(again.kept("vector"), PARTS, strict=True))
    assert [same(part, PARTS[0]) for part in again.kept("few-shot")] == [True]
    assert again.kept("system-positive") == []
    # Another evaluation has another file.
    assert Unfinished(tmp_path / "deep", {"model": "y"}).kept("vector") == []
    again.delete()
    assert Unfinished(tmp_path / "deep", {"model": "x"}).kept("vector") == []
    assert list((tmp_path / "deep").iterdir()) == []


def test_a_file_that_was_cut_or_changed_anywhere_gives_whole_parts_only(tmp_path: Path) -> None:
    first = Unfinished(tmp_path, {"model": "x"})
    for part in PARTS:
        first.add("vector", part)
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    ends = [i for i, byte in enumerate(data) if byte == ord("\n")]
    for cut in range(0, len(data), 7):
        path.write_bytes(data[:cut])
        kept = Unfinished(tmp_path, {"model": "x"}).kept("vector")
        assert len(kept) == sum(end <= cut for end in ends[1:])  # the first line says what it is of
        assert all(same(a, b) for a, b in zip(kept, PARTS, strict=False))
    for place in range(0, len(data), 11):
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        kept = Unfinished(tmp_path, {"model": "x"}).kept("vector")
        assert all(any(same(part, wanted) for wanted in PARTS) for part in kept)


def test_what_was_cut_is_gone_on_with(tmp_path: Path) -> None:
    first = Unfinished(tmp_path, {"model": "x"})
    first.add("vector", PARTS[0])
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes() + b"0123456789ab {")
    Unfinished(tmp_path, {"model": "x"}).add("vector", PARTS[1])
    Unfinished(tmp_path, {"model": "x"}).add("vector", PARTS[2])
    kept = Unfinished(tmp_path, {"model": "x"}).kept("vector")
    assert same(kept[0], PARTS[0]) and same(kept[-1], PARTS[2])


def test_a_disk_that_takes_nothing_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    unfinished = Unfinished(blocked / "folder", {"model": "x"})
    with caplog.at_level(logging.WARNING):
        unfinished.add("vector", PARTS[0])
        unfinished.add("vector", PARTS[1])
    assert caplog.text.count("cannot be written") == 1


def test_what_nobody_went_on_with_for_a_month_goes(tmp_path: Path) -> None:
    for name in "xyz":
        Unfinished(tmp_path, {"model": name}).add("vector", PARTS[0])
    old = sorted(tmp_path.iterdir())[0]
    os.utime(old, (0, time.time() - 40 * 24 * 3600))
    Unfinished(tmp_path, {"model": "w"}).delete()
    assert not old.exists() and len(list(tmp_path.iterdir())) == 2


def test_a_file_that_cannot_be_removed_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it is called the evaluation is stored, which a disk that fails afterwards does not change."""
    file = Unfinished(tmp_path, {"model": "w"})
    file.add("vector", PARTS[0])

    def fail(path: Path, missing_ok: bool = False) -> None:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(Path, "unlink", fail)
    file.delete()
    assert f"{file.path} cannot be removed (Input/output error): remove it" in caplog.text


def test_a_full_disk_spoils_no_later_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", small]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:
        unfinished = Lines(small / "kept", {"model": "x"})
        unfinished.add("vector", {"n": 1})
        with caplog.at_level(logging.WARNING):
            unfinished.add("vector", {"n": 2, "much": "x" * 20_000})
        assert "the disk is full" in caplog.text
        unfinished.add("vector", {"n": 3})
        kept = Lines(small / "kept", {"model": "x"}).kept("vector")
        assert [part["n"] for part in kept] == [1, 3]
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_what_others_left_in_the_folder_is_passed_over(tmp_path: Path) -> None:
    Unfinished(tmp_path, {"model": "x"}).add("vector", PARTS[0])
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert Unfinished(tmp_path, {"model": "x"}).kept("vector") == []
    before = elsewhere.read_bytes()
    Unfinished(tmp_path, {"model": "x"}).add("vector", PARTS[0])
    assert elsewhere.read_bytes() == before


@pytest.mark.parametrize(
    "line",
    [
        {"header": {}},
        {"header": {"identity": {}, "request": {"kind": "x"}}},
        {"header": {"identity": [], "request": {"kind": "x"}, "shard": "1/2"}},
        {"header": {"identity": {}, "request": "x", "shard": "1/2"}},
        {"header": {"identity": {}, "request": {"kind": "x"}, "shard": 7}},
        {"header": [1]},
        [1],
        "x",
    ],
)
def test_a_header_that_says_too_little(tmp_path: Path, line: object) -> None:
    path = tmp_path / "a.parts"
    path.write_bytes(_line(line))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="holds no shard"):
        header(path)
    deep = b"[" * 100_000
    path.write_bytes(f"{short(digest_bytes(deep))} ".encode() + deep + b"\n" + path.read_bytes())
    with pytest.raises(InputError, match="holds no shard"):
        header(path)
