"""The header of a safetensors file is believed only as far as the file bears it out."""

from __future__ import annotations

import json
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from caa_registry.errors import ModelError
from caa_registry.models.folder.tensors import BITS, StoredTensor, stored_tensors

SOUND = save({"a": np.ones((2, 3), np.float32), "b": np.zeros((0, 4), np.float16), "c": np.arange(5, dtype=np.int8)})


def made(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def about(dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def read(folder: Path, data: bytes) -> tuple[StoredTensor, ...]:
    (folder / "model.safetensors").write_bytes(data)
    return stored_tensors(folder / "model.safetensors")


def test_a_sound_file(tmp_path: Path) -> None:
    found = {tensor.name: (tensor.dtype, tensor.shape, tensor.stop - tensor.start) for tensor in read(tmp_path, SOUND)}
    assert found == {"a": ("F32", (2, 3), 24), "b": ("F16", (0, 4), 0), "c": ("I8", (5,), 5)}
    for dtype, bits in BITS.items():
        [tensor] = read(tmp_path, made({"x": about(dtype, (8,), (0, bits))}, bytes(bits)))
        assert (tensor.dtype, tensor.shape) == (dtype, (8,))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "0 bytes"),
        (b"\x00" * 7, "7 bytes"),
        (b"\xff" * 100, "is not a safetensors file, or ends early"),
        (made(b"{"), "header cannot be read"),
        (made(b"\xff\xfe"), "header cannot be read"),
        (made(b"[]"), "header cannot be read"),
        (made(b"[" * 100_000), "header cannot be read"),
        (made({"x": 1}), "header cannot be read"),
        (made({"x": {"dtype": "F32"}}), "shape"),
        (made({"x": about("F99")}), "unknown dtype 'F99'"),
        (made({"x": about(shape=(-2,))}), r"the shape \[-2\]"),
        (made({"x": about(shape=(2.0,))}), r"the shape \[2.0\]"),
        (made({"x": about(shape=(10**30,))}), "but has 8 bytes"),
        (made({"x": about(shape=(3,))}, bytes(8)), r"x is F32 of the shape \[3\], but has 8 bytes"),
        (made({"x": about()}, bytes(7)), "ends early: it has"),
        (made({"x": about()}, bytes(9)), "1 bytes that its header does not name"),
        (made({"x": about(), "y": about()}, bytes(8)), "the data of y overlap others or leave a gap"),
        (made({"x": about(offsets=(4, 12))}, bytes(12)), "the data of x overlap others or leave a gap"),
        (SOUND[:-1], "ends early"),
    ],
)
def test_a_file_that_contradicts_itself(data: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=says) as caught:
        read(tmp_path, data)
    assert "model.safetensors" in caught.value.message


@given(st.data())
def test_damage_is_refused_or_harmless(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    damaged = bytearray(SOUND)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(damaged)))
    check_bounded(tmp_path_factory, bytes(damaged[:end]))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(sorted(BITS)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
_ABOUT = st.fixed_dictionaries({"dtype": _JSON, "shape": _JSON, "data_offsets": _JSON})


@given(st.dictionaries(st.text(max_size=3), _ABOUT | _JSON, max_size=3), st.binary(max_size=32))
def test_any_header_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, header: dict[str, Any], data: bytes
) -> None:
    check_bounded(tmp_path_factory, made(header, data))


def check_bounded(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    tracemalloc.start()
    try:
        for tensor in read(folder, data):
            assert 0 <= tensor.start <= tensor.stop <= len(data)
    except ModelError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 1_000_000
