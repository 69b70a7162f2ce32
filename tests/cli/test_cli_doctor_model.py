"""``caa doctor --model``: what a model would take, without its weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import huggingface_hub
import mlx.core as mx
import pytest
from cli.command_line import caa
from cli.test_cli_bad_input import refused
from support.architectures import ARCHITECTURES, family
from support.tiny_models import CONTEXT, LAYERS, WIDTH

from caa_registry import mx_thread
from caa_registry.doctor import fit as fitting
from caa_registry.doctor import timing
from caa_registry.doctor.timing import Curve
from caa_registry.models import device, outline, weights
from caa_registry.models.loading import load
from caa_registry.models.weights import weight_bytes

if TYPE_CHECKING:
    from support.tiny_models import TinyModels

LLAMA_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 131072,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call of each part is enough where its speed does not matter."""
    monkeypatch.setattr(device, "_CPU_SHAPE", (8, 8, 8))
    monkeypatch.setattr(device, "_SECONDS", 0.001)
    monkeypatch.setattr(timing, "_SECONDS", 0.0001)


@pytest.fixture
def shaped(tmp_path: Path) -> Path:
    """A folder with the config of a model of 8 billion parameters, and nothing else."""
    folder = tmp_path / "llama-8b"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA_8B))
    return folder


def test_a_model_that_fits(empty: Path, tiny: TinyModels) -> None:
    folder = tiny.folder("llama", dtype="float16")
    result = caa("doctor", "--model", folder, "--json")
    assert (result.code, result.err) == (0, "")
    found, model = result.json["model"], load(folder)
    assert (found["architecture"], found["layers"], found["width"], found["vocabulary"]) == (
        "llama",
        LAYERS,
        WIDTH,
        400,
    )
    assert (found["context"], found["problem"]) == (CONTEXT, "")
    assert found["stored"] == (folder / "model.safetensors").stat().st_size and found["stored_as"] == "float16"
    assert found["weights"] == weight_bytes(model.network) and found["computed_in"] == model.dtype
    assert (found["longest"], found["longest_by"]) == (CONTEXT, "context")
    assert found["memory"] > 0 and found["batch"] > 0
    assert found["times"][0]["command"] == "vector compute" and len(found["times"]) == 5
    assert all(each["seconds"] > 0 and each["amount"] for each in found["times"])
    shown = caa("doctor", "--model", folder)
    assert shown.code == 0 and "None" not in shown.out
    for word in ("parameters", "as stored (float16)", "longest prompt", "caa eval calibrate", "No problems found."):
        assert word in shown.out


def test_memory_that_is_set(empty: Path, tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama")
    monkeypatch.setenv("CAA_MEMORY", str(model.shapes.needed(2, 40)))
    found = caa("doctor", "--model", tiny.folder("llama"), "--json").json["model"]
    assert (found["longest"], found["longest_by"], found["memory"]) == (40, "memory", model.shapes.needed(2, 40))


@pytest.mark.skipif(mx.default_device() != mx.Device(mx.cpu), reason="what fits a GPU is another matter")
def test_eight_billion_parameters_without_weights(empty: Path, shaped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mx.clear_cache()
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    monkeypatch.setattr(weights, "free_memory", lambda: 10**9)
    refusal = caa("doctor", "--model", shaped)
    assert refusal.code == 1 and "16.1 GB as stored (bfloat16)" in refusal.out
    assert "its weights take 16.1 GB, and 1.0 GB are free" in refusal.out and "caa eval" not in refusal.out
    monkeypatch.setattr(weights, "free_memory", lambda: 6 * 10**9)
    assert "quantized to 4 bits takes about 4.5 GB" in caa("doctor", "--model", shaped).out
    for module in (weights, fitting):
        monkeypatch.setattr(module, "free_memory", lambda: 20 * 10**9)
    monkeypatch.setattr(fitting, "timed_bytes", lambda model, batch: 10**12)
    result = caa("doctor", "--model", shaped, "--json")
    found = result.json["model"]
    assert result.code == 0 and found["parameters"] == 8030261248 and found["computed_in"] == "bfloat16"
    assert "float32 needs 40.2 GB and 20.0 GB are free" in found["why"]
    assert "speed of matrix products" in found["timed"] and found["times"][0]["seconds"] > 0
    assert mx.get_peak_memory() - before < 10**8


def test_only_one_block_is_in_memory_at_a_time(shaped: Path) -> None:
    config = {**LLAMA_8B, "hidden_size": 512, "intermediate_size": 4096, "num_attention_heads": 4, "vocab_size": 9000}
    (shaped / "config.json").write_text(json.dumps({**config, "num_key_value_heads": 2, "torch_dtype": "float32"}))
    found = outline.outline(shaped)
    block, whole = weight_bytes(found.model.stream.blocks[1]), weight_bytes(found.model.unread)
    mx.clear_cache()
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    speed = mx_thread.run(timing.measured_speed, found.model, 16, 2, 32, 8)
    assert speed.measured and speed.prompt(100) > speed.prompt(10)
    assert mx.get_peak_memory() - before < 4 * block + 9000 * 512 * 4 < whole / 4
    assert mx.get_active_memory() - before < block, "it is given up"


@pytest.mark.parametrize("name", ["llama", "deepseek_v3", "qwen3_next", "gemma4_text", "mamba", "falcon_h1"])
def test_architectures_without_weights(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**ARCHITECTURES[name], "model_type": family(name)}))
    found = outline.outline(tmp_path)
    assert found.parameters > 0 and found.stored_as == "float32"
    assert sum(count for _, count in timing.kinds(found.model)) == found.model.n_layers
    assert mx_thread.run(timing.measured_speed, found.model, 8, 2, 16, 4).ends(4) > 0


def test_quantized_without_weights(tmp_path: Path, tiny: TinyModels) -> None:
    folder = tiny.folder("llama", bits=4)
    with_weights = outline.outline(folder)
    shutil.copy(folder / "config.json", tmp_path)
    without = outline.outline(tmp_path)
    assert without.stored_as == with_weights.stored_as == "4 bits"
    assert without.parameters == with_weights.parameters
    assert without.prepared.size == with_weights.prepared.size


def test_a_hub_gives_no_weights(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def download(repo: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append(allow_patterns)
        return str(tiny.folder("llama"))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert outline.outline("team/model").model.info.name == "team/model"
    assert asked and not any("safetensors" in pattern and "json" not in pattern for pattern in asked[0])


def test_bad_models(empty: Path, tmp_path: Path) -> None:
    refused(caa("doctor", "--model", tmp_path), 1, "no config.json in this folder")
    refused(caa("doctor", "--model", tmp_path / "gone" / "x"), 1, "there is no model folder")
    config = tmp_path / "config.json"
    config.write_text("{")
    refused(caa("doctor", "--model", tmp_path), 1, "config.json: is not JSON")
    config.write_text('{"model_type": "no_such"}')
    refused(caa("doctor", "--model", tmp_path), 1, "Model type no_such not supported")
    config.write_text(json.dumps({**ARCHITECTURES["llama"], "model_type": "nanbeige", "num_loops": 2}))
    refused(caa("doctor", "--model", tmp_path), 1, "its blocks cannot be tapped")


def test_curves() -> None:
    curve = Curve(((1, 1.0), (3, 2.0)))
    assert (curve(1), curve(2), curve(3), curve(6)) == (1.0, 1.5, 2.0, 4.0)
    assert (curve + curve.times(2))(2) == 4.5
