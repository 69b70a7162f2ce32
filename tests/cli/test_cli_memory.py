"""``CAA_MEMORY`` bounds what MLX holds beside the weights, in every command that computes."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import pytest
from cli.command_line import caa
from registry.registry_support import jsonl
from support.tiny_models import build

MEMORY = 7_000_000
SIZE = {
    "hidden_size": 192,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 24,
    "intermediate_size": 1536,
    "vocab_size": 12_000,
    "max_position_embeddings": 4096,
}
COMMANDS = {
    "vector compute": ["vector", "compute", "team/again", "--dataset", "team/s", "--force"],
    "eval propensity": ["eval", "propensity", "team/s", "--multipliers", "-2,-1,0,1,2", "--controls", "isotropic"],
    "eval side-effects": ["eval", "side-effects", "team/s", "--text", "passages.txt",
                          "--multipliers", "-3,-2,-1,-0.5,0.5,1,2,3"],
    "eval open-ended": ["eval", "open-ended", "team/s", "--dataset", "team/s", "--layer", "1", "--multipliers",
                        "-2,-1,0,1,2", "--max-tokens", "8"],
    "generate": ["generate", "--vector", "team/s", "--layer", "1", "--max-tokens", "8"],
}  # fmt: skip


def text(words: int, start: int) -> str:
    return " ".join(f"word{(start * 37 + i * 11) % 97}" for i in range(words))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("sized") / "model", "llama", **SIZE)


@pytest.fixture
def registry(empty: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry with a vector ``team/s`` of that model, and passages in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAA_HOME", str(tmp_path / "home"))
    rows = [{"prompt": text(4, i) + "?", "positive": " (A)", "negative": " (B)"} for i in range(24)]
    file = jsonl(tmp_path / "pairs.jsonl", rows)
    (tmp_path / "passages.txt").write_text("\n\n".join(text(4, i) for i in range(6)), encoding="utf-8")
    for command in (
        ["dataset", "import", "--name", "team/s", "--split", f"generate={file}", "--split", f"test={file}"],
        ["vector", "compute", "team/s", "--dataset", "team/s", "--model", model],
    ):
        assert caa(*command).code == 0


def peak(work: Callable[[], None]) -> int:
    """The bytes that MLX held at most above what it held before."""
    gc.collect()  # the model of an earlier command
    mx.clear_cache()
    before, highest, reset = mx.get_active_memory(), 0, mx.reset_peak_memory

    def told() -> None:
        nonlocal highest
        highest = max(highest, mx.get_peak_memory())
        reset()

    reset()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mx, "reset_peak_memory", told)  # the engine resets it too
        work()
    told()
    return highest - before


@pytest.mark.long
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_keeps_to_the_memory(name: str, registry: None, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = (model / "model.safetensors").stat().st_size
    arguments = [*COMMANDS[name], *(["--model", model] if name == "vector compute" else [])]
    if name == "generate":
        arguments.append(text(120, 0))

    def run() -> None:
        result = caa(*arguments)
        assert result.code == 0, result.err

    freely = peak(run) - weights
    monkeypatch.setenv("CAA_MEMORY", str(MEMORY))
    closely = peak(run) - weights
    assert closely <= MEMORY < freely
