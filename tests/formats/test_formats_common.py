"""What every vector file format in the table keeps: the numbers, equal bytes for equal input, whole files only."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caa_registry.errors import IntegrityError
from caa_registry.formats.format import FORMATS
from caa_registry.vectors import LayerVector, VectorSet

every_format = pytest.mark.parametrize("name", FORMATS)


def example(seed: int = 0) -> VectorSet:
    rows = np.random.default_rng(seed).standard_normal((12, 5)).astype(np.float32)
    return VectorSet.of(LayerVector(layer, row) for layer, row in enumerate(rows))


@every_format
def test_the_numbers_come_back(name: str) -> None:
    format = FORMATS[name]
    for seed in range(5):
        vectors = example(seed)
        back = format.read(format.write(vectors, {"name": "x", "layers": [1, 2]}))
        assert back.layer_numbers == vectors.layer_numbers and back.tensor_digest == vectors.tensor_digest


@every_format
def test_equal_input_gives_equal_bytes(name: str) -> None:
    format = FORMATS[name]
    assert format.write(example(), {"a": 1, "b": "x"}) == format.write(example(), {"b": "x", "a": 1})
    assert format.write(example(), {"a": 1}) != format.write(example(), {"a": 2})
    assert format.write(example(0), {}) != format.write(example(1), {})


@every_format
def test_each_format_knows_its_own_files_and_no_others(name: str) -> None:
    data = FORMATS[name].write(example(), {})
    assert [other for other, format in FORMATS.items() if format.sniff(data)] == [name]


@every_format
@given(noise=st.binary(max_size=200), cut=st.floats(0, 1, exclude_max=True))
def test_noise_and_parts_of_files_are_never_read(name: str, noise: bytes, cut: float) -> None:
    format = FORMATS[name]
    whole = format.write(example(), {"name": "x"})
    for data in (noise, whole[: int(cut * len(whole))]):
        assert format.sniff(data) in (True, False)
        with pytest.raises(IntegrityError):
            format.read(data)


def test_names_and_suffixes_are_those_of_one_format() -> None:
    assert all(name == format.name for name, format in FORMATS.items())
    suffixes = [suffix for format in FORMATS.values() for suffix in format.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in suffixes)
