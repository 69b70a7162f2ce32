"""Files of ``torch.save``: numbers and layers of every layout, and nothing that a pickle says is run."""

from __future__ import annotations

import io
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.torch_files import archive, by_key, dictionary, number, one_tensor, tensor, text, torch_file

from caa_registry.errors import InputError
from caa_registry.formats.format import FORMATS
from caa_registry.formats.reading import format_of, read_vectors
from caa_registry.formats.torch_file.pickled import described
from caa_registry.formats.vector_file import VectorFile

ROW = np.array([1.5, -2.25, 3.0, 0.1], np.float32)
TABLE = np.arange(20, dtype=np.float32).reshape(5, 4)


def read(data: bytes, name: str = "some file", **said: Any) -> Any:
    file = VectorFile(name, data, **said)
    return format_of(file).read(file)


def refused(data: bytes, said: str, name: str = "some file", **user: Any) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read(data, name, **user)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("vec_layer_13_Llama-2-7b-chat-hf.pt", 13),
        ("a/b/vec_layer_0.pt", 0),
        ("layer_7.pt", 7),
        ("caa_vector.layer-12.pt", 12),
    ],
)
def test_the_layer_of_a_file_of_one_vector_is_in_its_name(name: str, layer: int) -> None:
    result = read(one_tensor(ROW), name)
    assert result.format == "caa" and list(result.directions) == [layer]
    np.testing.assert_array_equal(result.directions[layer], ROW)
    assert result.scale == "raw" and result.derived_at == {}


def test_what_names_claim_is_a_claim() -> None:
    result = read(one_tensor(ROW), "normalized_vectors/sycophancy/vec_layer_13_Llama-2-7b-chat-hf.pt")
    assert (result.claims.model, result.claims.data, result.producer) == ("Llama-2-7b-chat-hf", "sycophancy", "CAA")
    assert result.scale == "shared-norm"


def test_a_layer_must_be_said_and_said_alike() -> None:
    refused(one_tensor(ROW), "does not say which layer")
    refused(
        one_tensor(ROW), "the name of the file says layer 13 and --layer says layer 12", "vec_layer_13.pt", layer=12
    )
    assert list(read(one_tensor(ROW), layer=5).directions) == [5]


@pytest.mark.parametrize(("kind", "size"), [("f4", 4), ("f2", 2), ("f8", 8), ("bf16", 2)])
def test_every_type_of_number_is_exact(kind: str, size: int) -> None:
    rows = {
        "f4": ROW,
        "f2": ROW.astype("<f2"),
        "f8": ROW.astype("<f8"),
        "bf16": (ROW.view(np.uint32) >> 16).astype("<u2"),
    }
    wanted = (
        (rows["bf16"].astype(np.uint32) << 16).view(np.float32) if kind == "bf16" else rows[kind].astype(np.float32)
    )
    for order in ("little", "big"):
        raw = rows[kind].astype(rows[kind].dtype.newbyteorder("<" if order == "little" else ">")).tobytes()
        data = torch_file(tensor("0", 4, [4], kind=kind), {"0": raw}, byteorder=order.encode())
        np.testing.assert_array_equal(read(data, layer=1).directions[1], wanted)


def test_rounding_of_float64_is_said() -> None:
    data = torch_file(tensor("0", 2, [2], kind="f8"), {"0": struct.pack("<2d", 0.1, 1.5)})
    (warning,) = read(data, layer=1).warnings
    assert "rounded to float32, which changes them by up to 1.5e-08" in warning
    exact = torch_file(tensor("0", 2, [2], kind="f8"), {"0": struct.pack("<2d", 0.125, 1.5)})
    assert read(exact, layer=1).warnings == ()


def test_offsets_and_strides_of_views_are_kept() -> None:
    storage = {"0": TABLE.tobytes()}
    for picked, opcodes in (
        (TABLE[2], tensor("0", 20, [4], offset=8)),
        (TABLE[:, 1], tensor("0", 20, [5], offset=1, strides=[4])),
        (TABLE[1:2], tensor("0", 20, [1, 4], offset=4, strides=[4, 1])),
    ):
        np.testing.assert_array_equal(read(torch_file(opcodes, storage), layer=3).directions[3], picked.reshape(-1))
    transposed = read(torch_file(tensor("0", 20, [4, 5], strides=[1, 4]), storage))
    np.testing.assert_array_equal(np.stack(list(transposed.directions.values())), TABLE.T[1:])


def test_rows_of_persona_vectors_are_one_layer_earlier() -> None:
    result = read(one_tensor(TABLE), "Qwen/evil_response_avg_diff.pt")
    assert result.format == "persona-vectors" and list(result.directions) == [0, 1, 2, 3]
    for layer, row in result.directions.items():
        np.testing.assert_array_equal(row, TABLE[layer + 1])
    assert result.derived_at == {3: "final_norm"} and result.top_is_final_norm
    assert result.claims.layers == 4 and result.claims.data == "evil"
    assert any("Row 0 is the embeddings" in warning for warning in result.warnings)
    refused(one_tensor(TABLE), "CAA's activations", "activations_pos_13_Llama.pt")


def test_layers_of_dicts_and_of_steering_vectors() -> None:
    rows = {13: ROW, 2: ROW * 2}
    made = b"csteering_vectors.steering_vector\nSteeringVector\n)\x81"
    for data, shift in (
        (by_key(rows), 0),
        (by_key({f"layer_{layer}": row for layer, row in rows.items()}), 0),
        (by_key({f"blocks.{layer}.hook_resid_post": row for layer, row in rows.items()}), 0),
        (by_key({f"blocks.{layer}.hook_resid_pre": row for layer, row in rows.items()}), -1),
    ):
        result = read(data)
        assert result.format == "steering-vectors"
        assert {layer: row.tolist() for layer, row in result.directions.items()} == {
            layer + shift: row.tolist() for layer, row in sorted(rows.items())
        }
    refused(by_key({"blocks.0.hook_resid_pre": ROW}), "the embeddings")
    activations = dictionary({13: tensor("0", 4, [4])})
    storages = {"0": ROW.tobytes()}
    state = dictionary({"layer_activations": activations, "layer_type": text("decoder_block")}) + b"b"
    result = read(torch_file(made + state, storages))
    assert result.producer == "steering-vectors" and list(result.directions) == [13]
    other = dictionary({"layer_activations": activations, "layer_type": text("mlp")}) + b"b"
    refused(torch_file(made + other, storages), "only a block's output can be steered")


def steered(**changed: bytes) -> bytes:
    entry = {
        "action": text("add"), "steering_coefficient": b"G" + struct.pack(">d", 2.5),
        "steering_vector": tensor("0", 4, [1, 4]), "bias": b"N",
    }  # fmt: skip
    return torch_file(dictionary({"layers.3": dictionary(entry | changed)}), {"0": ROW.tobytes()})


def test_hookpoints_of_lm_eval() -> None:
    result = read(steered())
    assert (result.format, result.operation, result.strengths) == ("lm-eval", "add", {3: 2.5})
    np.testing.assert_array_equal(result.directions[3], ROW)
    assert result.untested and not result.not_addable
    clamp = read(steered(action=text("clamp")))
    assert clamp.operation == "clamp" and "not 'add'" in clamp.not_addable
    refused(steered(action=text("rotate")), "one of add or clamp")
    refused(steered(bias=tensor("0", 4, [4])), "has a bias")
    refused(steered(steering_coefficient=b"N"), "coefficient is no number")


def test_a_direction_of_vllm_hook() -> None:
    data = torch_file(dictionary({"dir": tensor("0", 4, [4]), "avg_proj": number(2)}), {"0": ROW.tobytes()})
    result = read(data, layer=6)
    assert (
        result.format == "vllm-hook"
        and result.claims.statements == {"avg_proj": "2"}
        and list(result.directions) == [6]
    )


def test_a_concept_of_axbench() -> None:
    lines = b"".join(b'{"concept_id": %d, "concept": "about %d"}\n' % (row, row) for row in range(5))
    beside = {"metadata.jsonl": lines}
    result = read(one_tensor(TABLE), "DiffMean_weight.pt", beside=beside, row=3, layer=10)
    assert result.format == "axbench" and result.claims.data == "about 3" and result.claims.method == "DiffMean"
    np.testing.assert_array_equal(result.directions[10], TABLE[3])
    for row, said in ((None, "no row is named"), (5, "there is no row 5")):
        refused(one_tensor(TABLE), said, "w.pt", beside=beside, row=row, layer=10)
    shifted = {"metadata.jsonl": lines.partition(b"\n")[2]}
    refused(one_tensor(TABLE), "gives row 1 the concept_id 2", "w.pt", beside=shifted, row=1, layer=10)


def test_several_directions_and_none_are_kept_and_not_addable() -> None:
    for shape, said in (([], "single number"), ([0], "no numbers")):
        result = read(torch_file(tensor("0", 1, shape), {"0": bytes(4)}), layer=1)
        assert said in result.not_addable and result.directions[1].shape == tuple(shape)
    result = read(by_key({1: TABLE, 2: TABLE * 2}))
    assert result.rank == 5 and "5 directions a layer" in result.not_addable


class _Runs:
    """Told to be made by calling ``called``."""

    def __init__(self, called: Any, *arguments: Any) -> None:
        self._made = called, arguments

    def __reduce__(self) -> Any:
        return self._made


MARK = Path("was-run")
COMMAND = f"touch {MARK}"
NESTED = (
    b"ctorch._utils\n_rebuild_parameter\n(ccollections\nOrderedDict\n(]cposix\nsystem\n(" + text(COMMAND) + b"tRatRtR"
)


def _evil() -> dict[str, bytes]:
    import os

    pickled = {
        "os.system": pickle.dumps(_Runs(os.system, COMMAND), 2),
        "eval": pickle.dumps(_Runs(eval, f"__import__('os').system('{COMMAND}')"), 2),
        "nested": pickle.dumps({1: [_Runs(exec, f"open('{MARK}', 'w')")]}, 2),
        "protocol 4": pickle.dumps(_Runs(os.system, COMMAND), 4),
        "protocol 5": pickle.dumps(_Runs(os.system, COMMAND), 5),
    }
    bodies = {
        "nested reduce": NESTED,
        "memo": text("posix") + b"q\x00" + text("system") + b"q\x01h\x00h\x01\x93" + text(COMMAND) + b"\x85R",
        "stack global": text("builtins") + text("eval") + b"\x93" + text("1") + b"\x85R",
        "stack global of what is allowed": text("torch._utils") + text("_rebuild_tensor_v2.__globals__") + b"\x93)R",
        "reduce of a storage class": b"ctorch\nFloatStorage\n" + number(4) + b"\x85R",
        "instance": b"(" + text(COMMAND) + b"iposix\nsystem\n",
        "object": b"(cposix\nsystem\n" + text(COMMAND) + b"o",
        "newobj": b"cposix\nsystem\n" + text(COMMAND) + b"\x85\x81",
        "newobj with arguments": b"csteering_vectors.steering_vector\nSteeringVector\n}\x85\x81",
        "newobj of a dict": b"ccollections\nOrderedDict\n)\x81",
        "newobj_ex": b"ccollections\nOrderedDict\n)}\x92",
        "build": b"ccollections\nOrderedDict\n)R(" + text("__setstate__") + text("x") + b"tb",
        "build of a tensor": tensor("0", 4, [4]) + dictionary({"__setstate__": text("x")}) + b"b",
        "extension": b"\x82\x01",
        "persistent": b"Pos.system\n",
        "buffer": b"\x97",
        "a set": b"\x8f",
        "call of the result": dictionary({}) + b")R",
        "ordered dict of calls": b"ccollections\nOrderedDict\n(](cposix\nsystem\n" + text(COMMAND) + b"tatR",
        "attribute": b"ccollections\nOrderedDict.__init__.__globals__\n",
    }
    return pickled | {name: b"\x80\x02" + body + b"." for name, body in bodies.items()}


EVIL = _evil()


@pytest.mark.parametrize("name", EVIL)
def test_a_pickle_that_would_run_something_runs_nothing(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    data = torch_file(b"", {"0": bytes(16)}, **{"data.pkl": EVIL[name]})
    for format in FORMATS.values():
        assert not format.sniff(VectorFile("v.pt", data))
    refused(data, "pickle")
    refused(EVIL[name], "it is a Python pickle, which can run code")
    assert not MARK.exists()


def test_these_pickles_do_run_elsewhere(tmp_path: Path, monkeypatch: Any) -> None:
    """Else the test above would show nothing."""
    monkeypatch.chdir(tmp_path)
    for name in ("os.system", "eval", "nested", "protocol 4", "protocol 5", "memo"):
        pickle.loads(EVIL[name])
        assert MARK.exists(), name
        MARK.unlink()


@given(st.binary(max_size=60))
def test_noise_in_a_pickle_is_refused_or_harmless(noise: bytes) -> None:
    file = VectorFile("v.pt", b"")
    for data in (noise, b"\x80\x02" + noise + b"."):
        try:
            described(file, data, "data.pkl")
        except InputError as error:
            assert "v.pt" in str(error)


SOUND = tensor("0", 4, [4])


@pytest.mark.parametrize(
    ("pickled", "storages", "said"),
    [
        (tensor("1", 4, [4]), {"0": bytes(16)}, "storage '1' is not in the file"),
        (tensor("../x", 4, [4]), {"0": bytes(16)}, r"storage '\.\./x' is not in the file"),
        (tensor("0", 5, [4]), {"0": bytes(16)}, "storage of 5 numbers of float32 has 16 bytes"),
        (tensor("0", 4, [5]), {"0": bytes(16)}, "reaches beyond its storage of 4 numbers"),
        (tensor("0", 4, [4], offset=1), {"0": bytes(16)}, "reaches beyond"),
        (tensor("0", 4, [4], offset=-1), {"0": bytes(16)}, "shape, strides or offset"),
        (tensor("0", 4, [2], strides=[-1]), {"0": bytes(16)}, "shape, strides or offset"),
        (tensor("0", 4, [40_000_000], strides=[0]), {"0": bytes(16)}, "reaches beyond"),
        (tensor("0", 4, [1] * 9), {"0": bytes(16)}, "of shape"),
        (tensor("0", 4, [4])[:-1] + b"N", {"0": bytes(16)}, "pickle"),
        (SOUND, {"0": struct.pack("<4f", 1, 2, float("nan"), 4)}, "number 2 is nan"),
        (SOUND, {"0": struct.pack("<4f", 1, float("-inf"), 3, 4)}, "number 1 is -inf"),
        (tensor("0", 1, [1], kind="f8"), {"0": struct.pack("<d", 1e300)}, "too large for float32"),
        (dictionary({1: SOUND, "1": SOUND}), {"0": bytes(16)}, "twice"),
        (b"}(" + number(1) + SOUND + number(1) + SOUND + b"u", {"0": bytes(16)}, "a dict has this key twice"),
        (b"ctorch\nIntStorage\n", {}, "names torch.IntStorage"),
        (b"]" * 300, {}, "leaves no object"),
        (b"(" * 300, {}, "leaves no object"),
        (b"N" * 250_000, {}, "more than 200,000 steps"),
        (b"N" * 5_000_000, {}, "more than 4,194,304"),
        (b"X\xff\xff\xff\x7fabc", {}, "pickle is damaged"),
        (b"\x8d" + b"\xff" * 8 + b"abc", {}, "pickle is damaged"),
    ],
)
def test_a_torch_file_that_is_wrong_is_refused(pickled: bytes, storages: dict[str, bytes], said: str) -> None:
    refused(torch_file(pickled, storages), said, "v.pt", layer=1)


def test_archives_that_are_wrong_are_refused() -> None:
    sound = torch_file(SOUND, {"0": ROW.tobytes()})
    assert read(sound, layer=1).format == "caa"
    entries = {
        name: zipfile.ZipFile(io.BytesIO(sound)).read(name) for name in zipfile.ZipFile(io.BytesIO(sound)).namelist()
    }
    for changed, said in (
        (archive(entries, zipfile.ZIP_DEFLATED), "it is compressed"),
        (b"PK\x03\x04" + bytes(30) + sound, "bytes stand before|cannot be read"),
        (sound.replace(ROW.tobytes(), (-ROW).tobytes()), "Bad CRC-32"),
        (sound.replace(b"version", b"data.pkl"), "twice|cannot be read|not in it once"),
        (torch_file(SOUND, {"0": ROW.tobytes()}, version=b"99"), "version b'99' is unknown"),
        (torch_file(SOUND, {"0": ROW.tobytes()}, byteorder=b"middle"), "byte order b'middle' is unknown"),
        (archive(entries | {"root/code/x.py": b""}), "TorchScript"),
        (archive(entries | {"rood/byteorder": b"little"}), "rood/byteorder.*not in the folder 'root'"),
        (archive(entries | {"other/data.pkl": b""}), "not in it once|zip archive with"),
    ):
        refused(changed, said, "v.pt", layer=1)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(doubled := io.BytesIO(sound), "a") as file:
        file.writestr("root/data/0", (-ROW).tobytes())
    refused(doubled.getvalue(), "root/data/0.*the zip archive has this entry twice", "v.pt", layer=1)
    flagged = bytearray(sound)
    flagged[sound.rindex(b"PK\x01\x02") + 8] |= 1
    refused(bytes(flagged), "it is encrypted", "v.pt", layer=1)


def test_archives_that_other_readers_would_read_in_another_way_are_refused() -> None:
    """Python passes over these; torch refuses each of them."""
    sound = torch_file(SOUND, {"0": ROW.tobytes()})
    listed, end = sound.index(b"PK\x01\x02"), sound.rindex(b"PK\x05\x06")
    last = sound.rindex(b"PK\x01\x02")

    def changed(place: int, value: bytes) -> bytes:
        return sound[:place] + value + sound[place + len(value) :]

    for data, said in (
        (changed(last + 34, b"\1"), "sizes, its place or its disk"),
        (changed(last + 20, b"\xff\0\0\0"), "sizes, its place or its disk"),
        (changed(last + 42, b"\0\0\1\0"), "sizes, its place or its disk"),
        (changed(end + 4, b"\1"), "does not end with a record"),
        (changed(end + 8, b"\1"), "does not end with a record"),
        (changed(end + 20, b"\2\0") + b"hi", "does not end with a record"),
        (changed(listed + 46, b"\xf7"), "neither ASCII nor marked|cannot be read"),
        (sound.replace(b"root/byteorder", b"root/byte\xf7rder"), "neither ASCII nor marked"),
    ):
        refused(data, said, "v.pt", layer=1)


def test_an_archive_that_lists_no_end_is_not_listed() -> None:
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"x"
    listing = entry * 200_000
    end = b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, 0xFFFF, 0xFFFF, len(listing), 4, 0)
    tracemalloc.start()
    refused(b"PK\x03\x04" + listing + end, "list of entries is too long", "v.pt")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60_000_000


def test_a_sound_file_is_read_from_a_path(tmp_path: Path) -> None:
    path = tmp_path / "vec_layer_4.pt"
    path.write_bytes(one_tensor(ROW))
    assert list(read_vectors([path]).directions) == [4]
