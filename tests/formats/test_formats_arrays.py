"""NumPy archives and safetensors of other tools: layers, sidecars, and headers that do not fit."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as load_tensors
from support.torch_files import archive

from caa_registry.digests import digest_bytes
from caa_registry.errors import InputError
from caa_registry.formats.format import FORMATS
from caa_registry.formats.reading import format_of, read_vectors
from caa_registry.formats.vector_file import VectorFile

ROWS = {2: np.array([1, 2, 3], np.float32), 10: np.array([0.5, -1, 4], np.float32)}


def npz(arrays: dict[str, Any], *, packed: bool = False) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def safetensors(tensors: dict[str, tuple[str, list[int], bytes]], metadata: dict[str, str] | None = None) -> bytes:
    header: dict[str, Any] = {"__metadata__": metadata} if metadata is not None else {}
    body = b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    return framed(header, body)


def framed(header: Any, body: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def float32(name: str) -> bytes:
    return safetensors({name.format(layer): ("F32", [3], row.tobytes()) for layer, row in ROWS.items()})


def read(data: bytes, format: str, **said: Any) -> Any:
    file = VectorFile("some file", data, **said)
    assert format_of(file).name == format
    return FORMATS[format].read(file)


def refused(data: bytes, said: str, **user: Any) -> None:
    file = VectorFile("v.bin", data, **user)
    with pytest.raises(InputError, match=said) as caught:
        format_of(file).read(file)
    assert "v.bin" in str(caught.value)


def are_the_rows(directions: Any, shift: int = 0) -> None:
    assert list(directions) == [layer + shift for layer in ROWS]
    for layer, row in ROWS.items():
        np.testing.assert_array_equal(directions[layer + shift], row)


@pytest.mark.parametrize(
    ("name", "shift"),
    [
        ("layer.{}", 0),
        ("layer_{}", 0),
        ("{}", 0),
        ("layers.{}", 0),
        ("blocks.{}.hook_resid_post", 0),
        ("blocks.{}.hook_resid_pre", -1),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_names_of_layers_mean_the_same_in_both_containers(name: str, shift: int, packed: bool) -> None:
    are_the_rows(read(float32(name), "safetensors").directions, shift)
    arrays = {name.format(layer): row for layer, row in ROWS.items()}
    result = read(npz(arrays, packed=packed), "npz")
    are_the_rows(result.directions, shift)
    assert result.producer == "" and result.scale == "raw"


def test_names_in_two_ways_are_no_file_of_layers() -> None:
    refused(npz({"layer_1": ROWS[2], "2": ROWS[2]}), "a zip archive with layer_1.npy")
    refused(npz({"layer_1": ROWS[2], "mean": ROWS[2]}), "a zip archive with")
    refused(float32("weight{}"), "safetensors with the tensors weight2")
    refused(npz({"layer_12345": ROWS[2]}), "a zip archive with")


def bfloat16() -> tuple[np.ndarray, bytes]:
    bits = (np.array([0.1, -2.7, 3e38], np.float32).view(np.uint32) >> 16).astype("<u2")
    return (bits.astype(np.uint32) << 16).view(np.float32), bits.tobytes()


def test_every_type_of_number_is_exact() -> None:
    wanted, raw = bfloat16()
    np.testing.assert_array_equal(
        read(safetensors({"layer_1": ("BF16", [3], raw)}), "safetensors").directions[1], wanted
    )
    for code, name in (("f2", "F16"), ("f4", "F32"), ("f8", "F64")):
        row = np.array([0.1, -2.7, 3.0], f"<{code}")
        for result in (
            read(safetensors({"layer_1": (name, [3], row.tobytes())}), "safetensors"),
            read(npz({"layer_1": row}), "npz"),
            read(npz({"layer_1": row.astype(f">{code}")}), "npz"),
            read(npz({"layer_1": np.asfortranarray(row[None])}), "npz"),
        ):
            np.testing.assert_array_equal(result.directions[1], row.astype(np.float32))
            assert any("rounded to float32" in warning for warning in result.warnings) == (code == "f8")


def test_steering_lite_keeps_its_coefficient_apart() -> None:
    tensors = {f"layer{layer}.v": ("F32", [3], row.tobytes()) for layer, row in ROWS.items()}

    def config(**changed: Any) -> dict[str, str]:
        return {"cfg": json.dumps({"method": "mean_diff", "layers": [2, 10], "coeff": 2.5} | changed)}

    result = read(safetensors(tensors, config()), "safetensors")
    are_the_rows(result.directions)
    assert result.producer == "steering-lite" and result.strengths == {2: 2.5, 10: 2.5} and not result.not_addable
    assert "not 'add'" in read(safetensors(tensors, config(method="directional_ablation")), "safetensors").not_addable
    refused(
        safetensors(tensors, config(layers=[3, 11])), "cfg.layers are 3, 11, and the tensors are of the layers 2, 10"
    )
    refused(safetensors({**tensors, "layer3.basis": ("F32", [1], bytes(4))}, config()), "keeps basis a layer")


def test_a_saklas_profile_has_shares_of_layers_in_its_lengths() -> None:
    data = float32("layer_{}")
    sidecar = {
        "format_version": 6, "saklas_version": "5.3", "method": "profile", "tensor_sha256": digest_bytes(data)[7:],
        "provenance": {},
    }  # fmt: skip
    result = read(data, "safetensors", beside={"v.json": json.dumps(sidecar).encode()})
    assert (result.producer, result.scale, result.claims.method) == ("saklas", "layer-shares", "profile")
    wrong = json.dumps(sidecar | {"tensor_sha256": "0" * 64}).encode()
    refused(data, "v.json says that the file has the SHA-256 0000.*, and it has [0-9a-f]{64}", beside={"v.json": wrong})
    manifold = safetensors({"layer_1.mean": ("F32", [1], bytes(4)), "layer_1.basis": ("F32", [1], bytes(4))})
    refused(manifold, "safetensors with the tensors layer_1.mean")


def test_chuk_and_depaysement_are_told_by_what_lies_beside() -> None:
    arrays = {f"layer_{layer}": row for layer, row in ROWS.items()}
    bundle = {"name": "warm", "model_id": "org/Model", "positive_label": "p",
              "directions": {str(layer): {"method": "mean"} for layer in ROWS}}  # fmt: skip
    result = read(npz(arrays), "npz", beside={"v.json": json.dumps(bundle).encode()})
    assert (result.producer, result.claims.model, result.claims.method) == ("chuk", "org/Model", "mean")
    shifted = bundle | {"directions": {"3": {}, "11": {}}}
    refused(npz(arrays), r"v.json lists the layers 3, 11, and the arrays are of the layers 2, 10",
            beside={"v.json": json.dumps(shifted).encode()})  # fmt: skip
    lab = {"format": "depaysement_lab.mlx_steering_vectors.v1", "model_name": "org/M", "n_layers": 12,
           "selected_layers": [2, 10]}  # fmt: skip
    result = read(npz(arrays), "npz", beside={"v.npz.json": json.dumps(lab).encode()})
    assert (result.producer, result.claims.model, result.claims.layers) == ("depaysement", "org/M", 12)
    refused(
        npz(arrays), "lists the layers 2, and", beside={"v.json": json.dumps(lab | {"selected_layers": [2]}).encode()}
    )


def test_chuks_single_vector_says_its_layer() -> None:
    arrays = {"direction": ROWS[2], "layer": np.array(9), "model_id": np.array("org/M"), "norm": np.array(2.0)}
    result = read(npz(arrays), "npz")
    assert list(result.directions) == [9] and result.claims.model == "org/M" and result.producer == "chuk"
    assert result.claims.statements == {"norm": "2.0"}
    file = VectorFile("layer_8.npz", npz(arrays))
    with pytest.raises(InputError, match="the array 'layer' says layer 9 and the name of the file says layer 8"):
        FORMATS["npz"].read(file)
    refused(npz(arrays | {"layer": np.array(1.5)}), "the layer is a whole number")
    refused(npz(arrays | {"layer": np.array(-1)}), "layers count from 0")


def test_other_shapes_are_kept_and_not_addable() -> None:
    for array, said in (
        (np.float32(1), "single number"),
        (np.zeros(0), "no numbers"),
        (np.ones((2, 3)), "2 directions"),
    ):
        result = read(npz({"layer_1": array}), "npz")
        assert said in result.not_addable and result.directions[1].shape == np.shape(array)


def test_arrays_of_objects_are_never_loaded() -> None:
    objects = npz({"layer_1": np.array([print, 1], dtype=object)})
    refused(objects, "an array of Python objects or records, and loading one can run code")
    records = npz({"layer_1": np.zeros(2, [("a", "f4")])})
    refused(records, "Python objects or records")


def npy(header: str, body: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode()
    return archive({"layer_1.npy": b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + body})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (npz({"layer_1": np.array([1, 2])}), "its type is int64"),
        (npz({"layer_1": np.array([1j])}), "header cannot be read"),
        (npz({"layer_1": np.array(["x"])}), "its type is <U1"),
        (npz({"layer_1": np.array([1, np.nan])}), "number 1 is nan"),
        (npz({"layer_1": np.array([1e300])}), "too large for float32"),
        (npz({"layer_1": ROWS[2], "layer_2": ROWS[2][:2]}), r"layer 1 has shape \[3\] and layer 2 has \[2\]"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999,), }"), "needs 3,999,999,999,996 bytes"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", bytes(4)), "needs 8 bytes, and there are 4"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }"), "header cannot be read"),
        (npy("__import__('os').system('x')"), "header cannot be read"),
        (npy("(" * 5000), "header cannot be read"),
        (
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }", version=b"\x09\x00"),
            "header cannot be read",
        ),
        (float32("layer_{}")[:40], "its header is said to have"),
        (float32("layer_{}")[:-1], "its tensors end at byte"),
        (float32("layer_{}") + b"\0", "its tensors end at byte"),
        (struct.pack("<Q", 1 << 60) + b"{}", "said to have 1,152,921,504,606,846,976 bytes"),
        (framed({"layer_1": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}}, bytes(4)), "shape .* needs"),
        (
            framed({"layer_1": {"dtype": "F32", "shape": [1], "data_offsets": [0, 1 << 40]}}, bytes(4)),
            "data_offsets give",
        ),
        (framed({"layer_1": {"dtype": "F4", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)), "type 'F4' is unknown"),
        (framed({"layer_1": {"dtype": "I32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)), "its type is I32"),
        (framed({"layer_1": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}, bytes(4)), "type is F8_E4M3"),
        (framed({"layer_1": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)), "of another type"),
        (framed({"layer_1": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}, bytes(4)), "of another type"),
        (framed({"layer_1": 5}), "does not give dtype"),
        (framed({"__metadata__": {"a": 1}, "layer_1": {}}), "no object of texts"),
        (framed({"layer_1": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, bytes(8)), "do not begin where"),
        (
            framed({f"layer_{n}": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in (1, 2)}, bytes(4)),
            "do not begin where",
        ),
        (struct.pack("<Q", 23) + b'{"layer_1":1,"layer_1":2}'[:23] + bytes(9), "is not JSON|twice"),
    ],
)
def test_a_file_that_is_wrong_is_refused(data: bytes, said: str) -> None:
    tracemalloc.start()
    refused(data, said)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_an_archive_that_unpacks_to_more_than_a_vector_is_not_unpacked() -> None:
    header = (
        b"\x93NUMPY\x01\x00"
        + struct.pack("<H", 64)
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }".ljust(64)
    )
    data = archive({"layer_1.npy": header + bytes(150_000_000)}, zipfile.ZIP_DEFLATED)
    assert len(data) < 1_000_000
    tracemalloc.start()
    refused(data, "unpacked it has 150,000,074 bytes, more than 134,217,728")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_our_archive_is_read_by_numpy_and_our_tensors_by_safetensors(tmp_path: Path) -> None:
    from caa_registry.formats.card import Card
    from caa_registry.vectors import LayerVector, VectorSet

    vectors = VectorSet.of(LayerVector(layer, row) for layer, row in ROWS.items())
    with np.load(io.BytesIO(FORMATS["npz"].write(vectors, Card(reference="a:v1"))), allow_pickle=False) as arrays:
        are_the_rows({layer: arrays[f"layer_{layer}"] for layer in ROWS})
        assert json.loads(str(arrays["caa_registry"]))["reference"] == "a:v1"
    tensors = load_tensors(FORMATS["safetensors"].write(vectors, Card()))
    are_the_rows({layer: tensors[f"layer.{layer}"] for layer in ROWS})


def test_vectors_of_the_mlxterp_tutorial_are_read(shared: Path) -> None:
    path = shared / "data" / "mlxterp-tutorial4" / "demo_f32.npz"
    result = read_vectors([path])
    with np.load(path) as arrays:
        assert list(result.directions) == [int(name) for name in arrays.files]
        for layer, row in result.directions.items():
            np.testing.assert_array_equal(row, arrays[str(layer)])
