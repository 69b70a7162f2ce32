"""Vector files that are JSON: which layer each layout means, and values of other types."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest

from caa_registry.errors import InputError, UsageError
from caa_registry.formats.card import Card
from caa_registry.formats.format import FORMATS
from caa_registry.formats.reading import format_of
from caa_registry.formats.vector_file import VectorFile
from caa_registry.vectors import LayerVector, VectorSet

ROW, OTHER = [1.5, -2.0, 0.25], [0.5, 4.0, -1.0]
VECTORS = VectorSet.of([LayerVector(2, np.array(ROW, np.float32)), LayerVector(10, np.array(OTHER, np.float32))])


def read(value: Any, format: str) -> Any:
    file = VectorFile("some file", json.dumps(value).encode())
    assert format_of(file).name == format
    return FORMATS[format].read(file)


def refused(value: Any, said: str, format: str = "") -> None:
    file = VectorFile("v.bin", value if isinstance(value, bytes) else json.dumps(value).encode())
    with pytest.raises(InputError, match=said) as caught:
        (FORMATS[format] if format else format_of(file)).read(file)
    assert "v.bin" in str(caught.value)


def numbers(result: Any) -> dict[int, Any]:
    return {layer: row.tolist() for layer, row in result.directions.items()}


def svec(nested: bool, **changed: Any) -> dict[str, Any]:
    rows = {"3": ROW, "11": OTHER}
    directions = {key: [row] for key, row in rows.items()} if nested else rows
    return {"model_type": "llama", "directions": directions} | changed


def test_the_same_index_is_another_layer_for_ibm_than_for_aisteer360() -> None:
    ibm = read(svec(False, explained_variances={"3": 0.5, "11": 0.4}), "ibm")
    assert numbers(ibm) == {2: ROW, 10: OTHER}
    assert ibm.derived_at == {2: "output of block 3", 10: "output of block 11"} and ibm.claims.model_type == "llama"
    aisteer360 = read(svec(True), "aisteer360")
    assert numbers(aisteer360) == {3: ROW, 11: OTHER} and aisteer360.derived_at == {}
    assert json.loads(FORMATS["ibm"].write(VECTORS, Card()))["directions"] == {"3": ROW, "11": OTHER}
    assert json.loads(FORMATS["ibm"].write(VECTORS, Card()))["explained_variances"] == {}
    assert json.loads(FORMATS["aisteer360"].write(VECTORS, Card()))["directions"] == {"2": [ROW], "10": [OTHER]}


def test_ibms_embeddings_are_left_out_and_its_last_layer_is_the_final_norm() -> None:
    result = read(svec(False, directions={str(layer): ROW for layer in range(4)}), "ibm")
    assert list(result.directions) == [0, 1, 2] and result.derived_at[2] == "final_norm" and result.claims.layers == 4
    assert any("directions.0 is applied to the embeddings" in warning for warning in result.warnings)
    refused(svec(False, directions={"0": ROW}), "applied to the embeddings")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"explained_variances": {"3": 1, "12": 1}}, "it has the layers 3, 12, and directions has 3, 11"),
        ({"directions": {"3": ROW, "x": ROW}}, "'x' is no layer"),
        ({"directions": {"3": ROW, "03": ROW}}, "'03' is no layer"),
        ({"directions": {"3": ROW, "-1": ROW}}, "'-1' is no layer"),
        ({"directions": {"3": ROW, "4": ROW[:2]}}, r"layer 2 has shape \[3\] and layer 3 has \[2\]"),
        ({"directions": {"3": [1, "2"]}}, "a vector is a list of numbers"),
        ({"directions": {"3": [1, True]}}, "a vector is a list of numbers"),
        ({"directions": {"3": [1, [2]]}}, "a vector is a list of numbers"),
        ({"directions": {"3": [[1], [2, 3]]}}, "rows have different lengths"),
        ({"directions": {"3": [1e300]}}, "too large for float32"),
        ({"directions": {"3": [10**400]}}, "too large for float32|not JSON"),
        ({"num_heads": 8, "head_dim": 4}, "attention heads"),
    ],
)
def test_a_svec_that_is_wrong_is_refused(changed: dict[str, Any], said: str) -> None:
    refused(svec(False, **changed), said)


def test_rows_by_position_are_kept_and_not_addable() -> None:
    result = read(svec(True, directions={"3": [ROW, OTHER]}), "aisteer360")
    assert result.operation == "add-by-position" and "2 directions a layer" in result.not_addable
    assert numbers(result) == {3: [ROW, OTHER]}
    assert "no numbers" in read(svec(False, directions={"3": []}), "ibm").not_addable


def payload(**changed: Any) -> dict[str, Any]:
    rows = {"layer.2": ROW, "layer.10": OTHER}
    raw = {name: struct.pack("<3f", *row) for name, row in rows.items()}
    digest = hashlib.sha256(b"direction:1")
    for name in ("layer.10", "layer.2"):  # sorted as texts
        digest.update(name.encode() + b"(3,)" + raw[name])
    tensors = {name: {"shape": [3], "data": base64.b64encode(data).decode()} for name, data in raw.items()}
    said = {"version": 1, "kind": "direction", "tensors": tensors, "extra": {}, "sha256": digest.hexdigest()}
    return said | changed


def test_a_payload_of_easysteer_is_that_of_its_description() -> None:
    result = read(payload(), "easysteer")
    assert numbers(result) == {2: ROW, 10: OTHER} and result.untested
    assert json.loads(FORMATS["easysteer"].write(VECTORS, Card())) == payload()
    sound = payload()["tensors"]
    swapped = {"layer.2": sound["layer.10"], "layer.10": sound["layer.2"]}
    refused(payload(tensors=swapped), "tensors have the SHA-256 [0-9a-f]{64}, and they have [0-9a-f]{64}")
    refused(payload(kind="linear"), "of kind 'linear', version 1")
    refused(payload(version=2), "version 2")
    refused(payload(version=True), "version True")
    refused(payload(tensors={"h1.layer.2": {}}), "not named layer.<number>")
    refused(payload(tensors=[1]), "not named layer.<number>")
    for entry in ({"shape": [3]}, {"shape": [2], "data": sound["layer.2"]["data"]}, {"shape": [3], "data": "?"}, 5,
                  {"shape": [1 << 40], "data": ""}, {"shape": [3, 1], "data": ""}):  # fmt: skip
        refused(payload(tensors={"layer.2": entry}), "shape|base64|bytes")


def module(entry: Any, **changed: Any) -> dict[str, Any]:
    return {"vectors": {"post_block": entry}, "prefill_vectors": None, "decode_vectors": None} | changed


def test_modules_of_rhizonymph_plain_and_packed() -> None:
    result = read(module({"2": ROW, "10": {"vector": OTHER, "scale": 2.0}}), "rhizonymph")
    assert numbers(result) == {2: ROW, 10: OTHER} and result.strengths == {10: 2.0}
    packed = {"dtype": "float32", "shape": [2, 3], "layer_indices": [10, 2], "scales": [1.0, 0.5],
              "data": base64.b64encode(struct.pack("<6f", *OTHER, *ROW)).decode()}  # fmt: skip
    result = read(module(packed), "rhizonymph")
    assert numbers(result) == {2: ROW, 10: OTHER} and result.strengths == {10: 1.0, 2: 0.5}
    assert json.loads(FORMATS["rhizonymph"].write(VECTORS, Card()))["vectors"] == {
        "post_block": {"2": ROW, "10": OTHER}
    }
    refused(module({"2": ROW}, decode_vectors={"post_block": {}}), "steers the prompt and what is generated unlike")
    refused({"vectors": {"mlp_out": {"2": ROW}, "post_block": {"2": ROW}}}, "it steers at mlp_out")
    refused(module({"2": {"vector": ROW, "scale": "2"}}), "its scale is no number")
    refused(module({"x": ROW}), "'x' is no layer")
    refused(module(packed | {"layer_indices": [1]}), "shape gives 2 layers, and layer_indices 1")
    refused(module(packed | {"layer_indices": [2, 2]}), "has a layer twice")
    refused(module(packed | {"shape": [2, 1 << 23]}), "needs 67,108,864 bytes, and there are 24")
    refused(module(packed | {"scales": [1.0]}), "scales are not 2 numbers")
    refused(module(packed | {"dtype": ["float32"]}), "is none of")


def vector(**changed: Any) -> dict[str, Any]:
    return {
        "modelId": "llama3-8b",
        "layerNumber": 3,
        "hookType": "hook_resid_post",
        "vector": ROW,
        "label": "warm",
    } | changed


def test_the_hook_decides_the_layer_of_a_vector_of_neuronpedia() -> None:
    assert numbers(read(vector(), "neuronpedia")) == {3: ROW}
    assert numbers(read(vector(hookType="hook_resid_pre"), "neuronpedia")) == {2: ROW}
    assert numbers(read({"layer_num": 3, "hook_type": "hook_resid_post", "vector": ROW}, "neuronpedia")) == {3: ROW}
    result = read(vector(defaultSteerStrength=10), "neuronpedia")
    assert result.strengths == {3: 10.0} and result.claims.model == "llama3-8b" and result.claims.data == "warm"
    refused(vector(layerNumber=0, hookType="hook_resid_pre"), "the embeddings")
    refused(vector(layer_num=4), "layerNumber is '3' and layer_num is '4'")
    refused(vector(hookType="hook_mlp_out"), "hook 'hook_mlp_out' is unknown")
    refused(vector(layerNumber="3"), "'3' is no layer")
    refused(vector(vector=None), "a vector is a list of numbers")
    refused(vector(defaultSteerStrength="10"), "strength is no number")
    wide = VectorSet.of([LayerVector(1, np.ones(24_577, np.float32))])
    with pytest.raises(UsageError, match="24,577 numbers, and Neuronpedia takes 24,576"):
        FORMATS["neuronpedia"].write(wide, Card())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"model_type": 1, "directions": {"1": [' + b"[]," * 400_000 + b"[]]}}", "more lists or numbers"),
        (b'{"model_type": 1, "directions": {"1": [' + b"0," * 4_000_001 + b"0]}}", "more lists or numbers"),
        (b'{"model_type": 1, "directions": ' + b'{"1":' * 90_000, "nested too deep"),
        (b'{"a":' * 200_000, "more lists or numbers"),
        (b'{"model_type": 1, "directions": {"1": [' + b"9" * 6000 + b"]}}", "is not JSON: Exceeds the limit"),
        (b'{"model_type": 1, "directions": {"1": [1e999]}}', "number 0 is inf"),
        (b'{"model_type": 1, "directions": {"1": [Infinity]}}', "Infinity is no number of a vector"),
        (b'{"model_type": 1, "directions": {"1": [1], "1": [2]}}', "has the key '1' twice"),
        (b'{"model_type": "\xff"}', "not UTF-8 \\(byte 16"),
    ],
)
def test_a_text_that_is_too_much_is_refused_before_it_is_made(data: bytes, said: str) -> None:
    tracemalloc.start()
    refused(data, said)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60_000_000
