"""Vector sets and their file: equal bytes for equal vectors, and nothing but whole files."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from caa_registry.errors import IntegrityError, UsageError
from caa_registry.formats.safetensors_file import places, read, sniff, write
from caa_registry.vectors import LayerVector, VectorSet

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
METADATA = st.dictionaries(st.text(max_size=8), st.one_of(st.text(max_size=8), st.integers(), st.booleans()))


@st.composite
def vector_sets(draw: Any) -> VectorSet:
    layers = sorted(draw(st.sets(st.integers(0, 200), min_size=1, max_size=12)))
    width = draw(st.integers(1, 9))
    rows = hnp.arrays(np.float32, width, elements=FINITE)
    return VectorSet.of(LayerVector(layer, draw(rows)) for layer in layers)


def example() -> VectorSet:
    return VectorSet.of(LayerVector(layer, np.arange(5, dtype=np.float32) * layer + 0.1) for layer in range(12))


@given(vector_sets(), METADATA)
def test_round_trip_and_places(vectors: VectorSet, metadata: dict[str, Any]) -> None:
    data = write(vectors, metadata)
    assert write(vectors, dict(reversed(metadata.items()))) == data
    back = read(data)
    assert back.layer_numbers == vectors.layer_numbers
    assert back.tensor_digest == vectors.tensor_digest
    assert sniff(data)
    found = places(data)
    assert sorted(found) == vectors.layer_numbers
    for vector in vectors.layers:
        place = found[vector.layer]
        raw = data[place.offset : place.offset + place.nbytes]
        assert raw == vector.values.tobytes() == back[vector.layer].values.tobytes()
        assert "sha256:" + hashlib.sha256(raw).hexdigest() == vector.sha256


def test_the_file_is_plain_safetensors_with_one_metadata_key() -> None:
    data = write(example(), {"b": 1, "a": ["x", None]})
    assert sorted(load_tensors(data)) == sorted(f"layer.{layer}" for layer in range(12))
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    assert header["__metadata__"] == {"caa_registry": '{"a":["x",null],"b":1}'}


def test_processes_with_other_hash_seeds_write_the_same_bytes() -> None:
    program = """
import hashlib
import numpy as np
from caa_registry.formats.safetensors_file import write
from caa_registry.vectors import LayerVector, VectorSet
vectors = VectorSet.of(LayerVector(layer, np.arange(5, dtype=np.float32) * layer + 0.1) for layer in range(12))
print(hashlib.sha256(write(vectors, {name: name for name in "abcdefgh"})).hexdigest())
"""
    here = hashlib.sha256(write(example(), {name: name for name in "hgfedcba"})).hexdigest()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        assert run.stdout.strip() == here


@given(st.data())
def test_a_cut_file_is_never_read(data: st.DataObject) -> None:
    whole = write(example(), {"name": "x"})
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(IntegrityError):
        read(cut)


@given(st.binary(max_size=200))
def test_noise_is_never_read(noise: bytes) -> None:
    assert not sniff(noise)
    with pytest.raises(IntegrityError):
        read(noise)
    with pytest.raises(IntegrityError):
        places(noise or b"")


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_shows_in_the_digest(position: int, bit: int) -> None:
    whole = bytearray(write(example(), {}))
    position %= len(whole)
    whole[position] ^= 1 << bit
    (length,) = struct.unpack("<Q", write(example(), {})[:8])
    try:
        found = read(bytes(whole))
    except IntegrityError:
        return
    metadata_only = position < 8 + length and found.tensor_digest == example().tensor_digest
    assert metadata_only or found.tensor_digest != example().tensor_digest


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"7": np.zeros(3, np.float32)},
        {"layer.x": np.zeros(3, np.float32)},
        {"layer.-1": np.zeros(3, np.float32)},
        {"layer.01": np.zeros(3, np.float32)},
        {"layer.1_0": np.zeros(3, np.float32)},
        {"layer.0": np.zeros(3, np.float16)},
        {"layer.0": np.zeros(3, np.float64)},
        {"layer.0": np.zeros((1, 3), np.float32)},
        {"layer.0": np.zeros(3, np.float32), "layer.1": np.zeros(4, np.float32)},
        {"layer.0": np.zeros(3, np.float32), "other": np.zeros(3, np.float32)},
        {"layer.0": np.array([0, np.nan, 0], np.float32)},
        {"layer.0": np.array([0, np.inf, 0], np.float32)},
    ],
)
def test_other_files_are_refused(tensors: dict[str, np.ndarray]) -> None:
    with pytest.raises(IntegrityError, match="cannot be read"):
        read(save_tensors(tensors))


def test_a_safetensors_file_of_other_tensors_is_not_taken_for_the_registrys() -> None:
    assert sniff(save_tensors({"layer.0": np.zeros(3, np.float32)}))
    for tensors in ({}, {"weight": np.zeros(3, np.float32)}, {"layer.0": np.zeros(3), "weight": np.zeros(3)}):
        assert not sniff(save_tensors(tensors))


def test_a_dtype_that_numpy_does_not_have_is_refused() -> None:
    header = json.dumps({"layer.0": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    with pytest.raises(IntegrityError):
        read(struct.pack("<Q", len(header)) + header + b"\0" * 4)


ROW = np.ones(3, np.float32)


@pytest.mark.parametrize(
    "layers",
    [
        [],
        [(1, ROW), (0, ROW)],
        [(1, ROW), (1, ROW)],
        [(-1, ROW), (0, ROW)],
        [(0, ROW), (1, np.ones(4, np.float32))],
        [(0, ROW.astype(np.float64))],
        [(0, ROW[None])],
        [(0, ROW * np.float32(np.nan))],
        [(0, ROW * np.float32(np.inf))],
    ],
)
def test_what_does_not_belong_together_is_no_vector_set(layers: list[tuple[int, np.ndarray]]) -> None:
    with pytest.raises(UsageError):
        VectorSet.of(LayerVector(layer, values) for layer, values in layers)


def test_a_layer_is_asked_for_by_number() -> None:
    vectors = example()
    assert vectors[3].layer == 3
    assert vectors.d_model == 5
    with pytest.raises(UsageError, match="no layer 12"):
        vectors[12]


@given(vector_sets())
def test_the_tensor_digest_is_of_the_numbers_and_their_layers(vectors: VectorSet) -> None:
    normed = VectorSet.of(LayerVector(v.layer, v.values.copy(), 2.0) for v in vectors.layers)
    assert normed.tensor_digest == vectors.tensor_digest
    shifted = VectorSet.of(LayerVector(v.layer + 1, v.values) for v in vectors.layers)
    assert shifted.tensor_digest != vectors.tensor_digest
    strided = VectorSet.of(LayerVector(v.layer, np.repeat(v.values, 2)[::2]) for v in vectors.layers)
    assert strided.tensor_digest == vectors.tensor_digest
    assert write(strided, {}) == write(vectors, {})


def test_the_norm_is_computed_wide() -> None:
    assert LayerVector(0, np.full(4, 3e38, np.float32)).norm == pytest.approx(6e38)
