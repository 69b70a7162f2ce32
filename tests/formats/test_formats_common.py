"""What every vector file format in the table keeps: numbers and layers, equal bytes for equal input, whole files only,
and no file of another's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from caa_registry.digests import digest_bytes
from caa_registry.errors import InputError, NotFoundError, UsageError
from caa_registry.formats.card import Card
from caa_registry.formats.format import FORMATS, Format
from caa_registry.formats.reading import format_of, read_vectors
from caa_registry.formats.vector_file import LARGEST, VectorFile
from caa_registry.formats.writing import write_vectors
from caa_registry.vectors import LayerVector, VectorSet

WRITTEN = [name for name, format in FORMATS.items() if format.writes and format.reads]
written = pytest.mark.parametrize("name", WRITTEN)
CARD = Card(
    reference="team/sycophancy:v3",
    digest="sha256:" + "a" * 64,
    dataset="team/pairs:v2",
    dataset_digest="sha256:" + "b" * 64,
    fingerprint="sha256:" + "c" * 64,
    model="org/Model-7b",
    revision="d" * 40,
    model_type="llama",
    n_layers=200,
    method="mean-difference",
)
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def example(seed: int = 0, layers: tuple[int, ...] = (1, 2, 7)) -> VectorSet:
    rows = np.random.default_rng(seed).standard_normal((len(layers), 5)).astype(np.float32)
    return VectorSet.of(LayerVector(layer, row) for layer, row in zip(layers, rows, strict=True))


@st.composite
def vector_sets(draw: Any, most: int = 6) -> VectorSet:
    layers = sorted(draw(st.sets(st.integers(1, 120), min_size=1, max_size=most)))
    rows = hnp.arrays(np.float32, draw(st.integers(1, 7)), elements=FINITE)
    return VectorSet.of(LayerVector(layer, draw(rows)) for layer in layers)


def single(vectors: VectorSet, format: Format) -> VectorSet:
    """The part of ``vectors`` that one file of ``format`` holds."""
    return VectorSet.of(vectors.layers[:1]) if format.one_layer else vectors


def file_of(format: Format, vectors: VectorSet, card: Card = CARD) -> VectorFile:
    """A file whose name says nothing; the user says the layer where a file holds one."""
    return VectorFile(
        "some file", format.write(vectors, card), layer=vectors.layer_numbers[0] if format.one_layer else None
    )


@written
@settings(max_examples=25)
@given(vectors=vector_sets())
def test_numbers_and_layers_come_back(name: str, vectors: VectorSet) -> None:
    format = FORMATS[name]
    vectors = single(vectors, format)
    result = format.read(file_of(format, vectors))
    assert result.vectors.layer_numbers == vectors.layer_numbers
    assert result.vectors.tensor_digest == vectors.tensor_digest
    assert result.not_addable == "" and result.operation == "add" and result.rank == 1
    assert result.format == name and result.hook_point == "residual_stream_post_layer"


@written
def test_equal_input_gives_equal_bytes(name: str) -> None:
    format = FORMATS[name]
    vectors = single(example(), format)
    assert format.write(vectors, CARD) == format.write(single(example(), format), CARD)
    assert format.write(vectors, CARD) != format.write(single(example(1), format), CARD)


@written
def test_a_file_says_what_it_was_made_from_where_the_format_has_room(name: str) -> None:
    format = FORMATS[name]
    vectors = single(example(), format)
    file = file_of(format, vectors)
    result = format.read(file)
    said = json.loads(json.dumps(result.as_json()))
    assert said["files"] == [{"name": "some file", "size": len(file.data), "sha256": digest_bytes(file.data)}]
    if name in ("easysteer", "rhizonymph"):
        return
    if name == "neuronpedia":
        assert said["claims"]["data"] == CARD.reference and said["claims"]["model"] == "model-7b"
        return
    assert said["producer"] == "CAA Registry"
    assert said["claims"]["reference"] == CARD.reference and said["claims"]["model"] == CARD.model
    assert said["claims"]["digests"] == {
        "version": CARD.digest,
        "tensors": vectors.tensor_digest,
        "dataset": CARD.dataset_digest,
        "model": CARD.fingerprint,
    }


@pytest.mark.parametrize("name", ["safetensors", "gguf", "ibm", "aisteer360"])
def test_a_card_of_other_numbers_is_refused(name: str) -> None:
    """A digest that the file gives is compared with the numbers that it holds. Archives have checksums before it."""
    digest = example().tensor_digest.removeprefix("sha256:").encode()
    data = file_of(FORMATS[name], example()).data
    assert data.count(digest) == 1
    with pytest.raises(InputError, match=r"numbers have the digest"):
        FORMATS[name].read(VectorFile("v", data.replace(digest, b"0" * 64)))


@written
def test_each_format_knows_its_own_files_and_no_others(name: str) -> None:
    file = file_of(FORMATS[name], single(example(), FORMATS[name]))
    assert [other for other, format in FORMATS.items() if format.sniff(file)] == [name]
    assert format_of(file).name == name


@written
@settings(max_examples=25)
@given(noise=st.binary(max_size=200), cut=st.floats(0, 1, exclude_max=True))
def test_noise_and_parts_of_files_are_refused(name: str, noise: bytes, cut: float) -> None:
    format = FORMATS[name]
    whole = file_of(format, single(example(), format)).data.rstrip(b"\0")  # GGUF ends with padding, which says nothing
    for data in (noise, whole[: int(cut * len(whole))]):
        file = VectorFile("some file", data, layer=1)
        assert format.sniff(file) in (True, False)
        with pytest.raises(InputError):
            format.read(file)
        with pytest.raises(InputError):
            format_of(file).read(file)


def test_names_suffixes_and_modules_are_sound() -> None:
    for name, format in FORMATS.items():
        assert name == format.name and format.about
        assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in format.suffixes)
        assert not format.one_layer or format.file_name(3, CARD)


def test_a_folder_of_a_file_a_layer_is_written_and_read(tmp_path: Path) -> None:
    vectors = example()
    paths = write_vectors(vectors, tmp_path / "vectors", CARD, format="caa")
    assert [path.name for path in paths] == [f"vec_layer_{layer}_Model-7b.pt" for layer in (1, 2, 7)]
    result = read_vectors(paths[::-1])
    assert result.vectors.tensor_digest == vectors.tensor_digest
    assert [each.name for each in result.files] == [str(path) for path in paths[::-1]]
    before = [path.read_bytes() for path in paths]
    with pytest.raises(UsageError, match="exists"):
        write_vectors(example(1), tmp_path / "vectors", CARD, format="caa")
    assert [path.read_bytes() for path in paths] == before
    write_vectors(example(1), tmp_path / "vectors", CARD, format="caa", force=True)
    assert read_vectors(paths).vectors.tensor_digest == example(1).tensor_digest


def test_the_suffix_tells_the_format_where_one_is_written_with_it(tmp_path: Path) -> None:
    for name in ("v.gguf", "v.npz", "v.safetensors", "v.py"):
        assert write_vectors(example(), tmp_path / name, CARD) == [tmp_path / name]
    for name in ("v.pt", "v.svec", "v.json", "v"):
        with pytest.raises(UsageError, match="does not tell one format"):
            write_vectors(example(), tmp_path / name, CARD)
    with pytest.raises(UsageError, match="no vector file format 'x'"):
        write_vectors(example(), tmp_path / "v", CARD, format="x")
    with pytest.raises(UsageError, match="read and not written"):
        write_vectors(example(), tmp_path / "v", CARD, format="axbench")
    with pytest.raises(UsageError, match="written and not read"):
        read_vectors([tmp_path / "v.py"], format="snippet")


def test_files_that_are_not_one_vector_are_refused_by_both_names(tmp_path: Path) -> None:
    one = write_vectors(example(0, (1, 2)), tmp_path / "one.gguf", CARD)
    same = write_vectors(example(1, (2, 3)), tmp_path / "same.gguf", CARD)
    other = write_vectors(example(1, (3, 4)), tmp_path / "other.npz", CARD)
    with pytest.raises(InputError, match=r"layer 2 is in .*one\.gguf and in .*same\.gguf"):
        read_vectors(one + same)
    with pytest.raises(InputError, match=r"the format is 'gguf' in .*one\.gguf and 'npz' in .*other\.npz"):
        read_vectors(one + other)
    wide = VectorSet.of([LayerVector(9, np.ones(8, np.float32))])
    with pytest.raises(InputError, match=r"the shape is \[5\] in .*one\.gguf and \[8\] in .*wide\.gguf"):
        read_vectors(one + write_vectors(wide, tmp_path / "wide.gguf", CARD))
    with pytest.raises(InputError, match=r"the reference is 'team/sycophancy:v3' in .*one\.gguf and 'x' in"):
        read_vectors(one + write_vectors(example(1, (5,)), tmp_path / "x.gguf", replace(CARD, reference="x")))


def test_what_is_no_file_of_a_vector_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no file"):
        read_vectors([tmp_path / "missing"])
    with pytest.raises(InputError, match="it holds no vector file"):
        read_vectors([tmp_path])
    huge = tmp_path / "model.gguf"
    with huge.open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(InputError, match="has at most 268,435,456"):
        read_vectors([huge])
    for options in ({"layer": -1}, {"row": -1}):
        with pytest.raises(UsageError, match="counts from 0"):
            read_vectors([huge], **options)
    with pytest.raises(UsageError, match="0 files were named"):
        read_vectors([])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        (b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00\x8c\x01x\x94.", "a Python pickle, which can run code"),
        (bytes.fromhex("80028a0a6cfc9c46f9206aa850192e"), "torch file of the form before 1.6"),
        (b'{"x": 1, "y": 2}', "JSON with the keys x, y"),
        (b"[1, 2]", "of no known kind"),
        (b"PK\x05\x06" + bytes(18), "a zip archive with nothing"),
        (b"{not json}", "it is not JSON"),
        (b'{"a": 1, "a": 2}', "has the key 'a' twice"),
        (b'{"a": NaN}', "NaN is no number of a vector"),
        (b'{"a": ' + b"[" * 50_000, "nested too deep|not JSON"),
    ],
)
def test_a_file_of_another_kind_is_named(data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        format_of(VectorFile("some file", data))
