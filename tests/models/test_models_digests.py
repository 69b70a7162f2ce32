"""The digests of weight files: found in one pass, remembered while a file looks the same, and checked when recalled."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caa_registry.errors import ModelError
from caa_registry.models.folder import digests as module
from caa_registry.models.folder.digests import weight_digests

DTYPES = ("float32", "float16", "bfloat16", "int8", "uint32")


@pytest.fixture
def remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where digests are remembered."""
    monkeypatch.setenv("CAA_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "cache" / "weight-digests"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were really read."""
    seen: list[Path] = []
    original = module._read

    def read(path: Path) -> module.WeightDigests:
        seen.append(path)
        return original(path)

    monkeypatch.setattr(module, "_read", read)
    return seen


def written(path: Path, value: float = 1.0) -> Path:
    mx.save_safetensors(str(path), {"one": mx.full((3, 4), value), "two": mx.arange(5)})
    return path


def test_one_pass_finds_what_two_would(tmp_path: Path, remembered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PIECE", 16)  # so that tensors come in pieces
    path = written(tmp_path / "w.safetensors")
    found = weight_digests(path)
    assert found.file == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.size == path.stat().st_size
    values = {name: np.array(array).tobytes() for name, array in mx.load(str(path)).items()}
    assert {t.name: t.digest for t in found.tensors} == {
        name: "sha256:" + hashlib.sha256(data).hexdigest() for name, data in values.items()
    }
    assert {t.name: (t.dtype, t.shape) for t in found.tensors} == {"one": ("F32", (3, 4)), "two": ("I32", (5,))}


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(DTYPES),
    st.lists(st.floats(width=16), min_size=1, max_size=40),
)
def test_what_is_not_finite_is_found_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, dtype: str, values: list[float]
) -> None:
    array = mx.array(np.nan_to_num(values, posinf=9, neginf=9) if "int" in dtype else values)
    path = tmp_path_factory.mktemp("f") / "w.safetensors"
    mx.save_safetensors(str(path), {"t": array.astype(getattr(mx, dtype))})
    finite = "int" in dtype or bool(np.isfinite(np.array(values)).all())
    assert weight_digests(path).not_finite == (None if finite else "t")


@pytest.mark.parametrize(
    ("dtype", "size", "numbers", "none"),
    [
        ("F8_E4M3", 1, [0x00, 0x7E, 0xFE, 0x78], [0x7F, 0xFF]),
        ("F8_E5M2", 1, [0x00, 0x7B, 0xFB], [0x7C, 0xFC, 0x7D, 0xFF]),
        ("F8_E8M0", 1, [0x00, 0x7F, 0xFE], [0xFF]),
        ("C64", 8, [0x3F80_0000_3F80_0000], [0x7F80_0000_3F80_0000, 0x3F80_0000_7FC0_0000]),
        ("F64", 8, [0x7FEF_FFFF_FFFF_FFFF], [0x7FF0_0000_0000_0000, 0xFFF8_0000_0000_0000]),
        ("U8", 1, [0x7F, 0xFF], []),
    ],
)
def test_dtypes_that_numpy_lacks_are_judged_by_their_bits(
    tmp_path: Path, dtype: str, size: int, numbers: list[int], none: list[int]
) -> None:
    def holds(*values: int) -> str | None:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors"
        about = {"dtype": dtype, "shape": [len(values)], "data_offsets": [0, size * len(values)]}
        header = json.dumps({"t": about}).encode()
        data = b"".join(value.to_bytes(size, "little") for value in values)
        path.write_bytes(len(header).to_bytes(8, "little") + header + data)
        return weight_digests(path).not_finite

    assert holds(*numbers) is None
    assert [holds(*numbers, value) for value in none] == ["t"] * len(none)


def test_a_file_is_read_once_until_it_changes(remembered: Path, reads: list[Path], tmp_path: Path) -> None:
    path = written(tmp_path / "w.safetensors")
    first = weight_digests(path)
    assert weight_digests(path) == first
    assert len(reads) == 1
    # Other bytes, and the size, the time and the file as before.
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x7e")
    os.utime(path, ns=times)
    second = weight_digests(path)
    assert second.file != first.file
    assert len(reads) == 2
    # Another file of the same size in its place.
    replacement = written(tmp_path / "r.safetensors", 2.0)
    os.utime(replacement, ns=times)
    replacement.replace(path)
    assert weight_digests(path).file not in (first.file, second.file)
    assert weight_digests(path, again=True) == weight_digests(path)
    assert len(reads) == 4


def test_no_changed_digit_of_the_cache_is_believed(remembered: Path, reads: list[Path], tmp_path: Path) -> None:
    path = written(tmp_path / "w.safetensors")
    wanted = weight_digests(path)
    (entry,) = remembered.iterdir()
    text = entry.read_text(encoding="utf-8")
    for place in [match.start() for match in re.finditer(r"[0-9a-f](?=[0-9a-f]{8})", text)][::7]:
        digit = "0" if text[place] != "0" else "1"
        entry.write_text(text[:place] + digit + text[place + 1 :], encoding="utf-8")
        before = len(reads)
        assert weight_digests(path) == wanted
        assert len(reads) == before + 1, text[place - 20 : place + 20]
        assert json.loads(entry.read_text(encoding="utf-8"))["known"]["digest"] == wanted.file


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"x"', "\udcff", '{"known": 3}', '{"known": {"file": 3}}'])
def test_a_damaged_cache_is_ignored_and_replaced(
    content: str, remembered: Path, reads: list[Path], tmp_path: Path
) -> None:
    path = written(tmp_path / "w.safetensors")
    wanted = weight_digests(path)
    (entry,) = remembered.iterdir()
    entry.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert weight_digests(path) == wanted
    assert weight_digests(path) == wanted
    assert len(reads) == 2


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocker = tmp_path / "home"
    blocker.write_text("a file where the folder should be", encoding="utf-8")
    monkeypatch.setenv("CAA_HOME", str(blocker))
    path = written(tmp_path / "w.safetensors")
    assert weight_digests(path) == weight_digests(path)


def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, remembered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "w.safetensors")
    original = module._read

    def read(each: Path) -> module.WeightDigests:
        found = original(each)
        with path.open("ab") as file:
            file.write(b"x")
        return found

    monkeypatch.setattr(module, "_read", read)
    with pytest.raises(ModelError, match="changed while it was read"):
        weight_digests(path)
    assert not remembered.exists()
