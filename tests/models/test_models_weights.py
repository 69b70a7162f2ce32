"""Weights on a CPU: widened and dequantized where they fit, and equal to what they were."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten

from caa_registry.errors import ModelError
from caa_registry.models import weights
from caa_registry.models.loading import load
from caa_registry.models.weights import is_quantized

if TYPE_CHECKING:
    from support.tiny_models import TinyModels

    from caa_registry.models.model import Model

pytestmark = pytest.mark.skipif(
    mx.default_device() != mx.Device(mx.cpu), reason="on a GPU quantized weights are used as stored"
)
TOKENS = mx.array([[5, 9, 40, 7, 300, 21, 8, 8]])


def logits(model: Model) -> np.ndarray:
    return np.array(model.network(TOKENS).astype(mx.float32))


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where the stored weights of a tiny model just fit."""
    monkeypatch.setattr(weights, "free_memory", lambda: 700_000)


@pytest.mark.parametrize("family", ["llama", "qwen3_moe"])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("stored", ["float32", "float16", "bfloat16"])
def test_dequantized_weights_compute_the_same(
    family: str, bits: int, stored: str, tiny: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.folder(family, bits=bits, dtype=stored)
    dequantized = load(folder)
    monkeypatch.setattr(weights, "_MARGIN", 1e9)  # float32 never fits
    quantized = load(folder)
    assert is_quantized(quantized.network) and not is_quantized(dequantized.network)
    assert dequantized.dtype == quantized.dtype == "float32"
    assert {value.dtype for _, value in tree_flatten(dequantized.network.parameters())} == {mx.float32}
    assert dequantized.info == quantized.info, "it is the same model"
    wanted = logits(quantized)
    np.testing.assert_allclose(logits(dequantized), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_what_does_not_fit_stays_quantized_and_says_so(
    tiny: TinyModels, little: None, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tiny.folder("llama", bits=4)
    with caplog.at_level(logging.WARNING, "caa_registry.models.weights"):
        model = load(folder)
    assert is_quantized(model.network) and model.dtype == "float32"
    assert f"{folder.name} is computed as stored, which is slow on a CPU: float32 needs " in caplog.text


def test_the_margin(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny.folder("llama", bits=4)
    needed = 5 * sum(value.size for _, value in tree_flatten(tiny("llama").network.parameters()))
    for free, kept in ((needed, False), (needed - 1, True)):
        monkeypatch.setattr(weights, "free_memory", lambda free=free: free)
        assert is_quantized(load(folder).network) is kept


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_dtype_of_16_bits_keeps_them_quantized(dtype: str, tiny: TinyModels) -> None:
    assert is_quantized(load(tiny.folder("llama", bits=4), dtype=dtype).network)


def test_weights_of_16_bits_that_do_not_fit_twice_are_computed_as_stored(
    tiny: TinyModels, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tiny.folder("llama", dtype="bfloat16")
    wide = load(folder)
    count = sum(value.size for _, value in tree_flatten(wide.network.parameters()))
    for free, dtype in ((5 * count, "float32"), (5 * count - 1, "bfloat16")):
        caplog.clear()
        monkeypatch.setattr(weights, "free_memory", lambda free=free: free)
        with caplog.at_level(logging.WARNING, "caa_registry.models.weights"):
            model = load(folder)
        assert model.dtype == dtype
        assert ("is computed as stored" in caplog.text) == (dtype == "bfloat16")
        np.testing.assert_allclose(logits(model), logits(wide), rtol=0, atol=0.05 * np.abs(logits(wide)).max())


def test_a_model_that_does_not_fit_is_refused_before_it_is_read(
    tiny: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.folder("llama", dtype="bfloat16")
    count = sum(value.size for _, value in tree_flatten(load(folder).network.parameters()))
    read: list[object] = []
    monkeypatch.setattr(mx, "eval", lambda *arrays: read.append(arrays))
    monkeypatch.setattr(weights, "free_memory", lambda: 2 * count - 1)
    with pytest.raises(ModelError, match=r"its weights take .* GB, and .* GB are free") as caught:
        load(folder)
    assert "quantized to 8 bits takes about" in caught.value.hint and not read
    monkeypatch.setattr(weights, "free_memory", lambda: 10)
    with pytest.raises(ModelError) as caught:
        load(folder)
    assert caught.value.hint == "Use a machine with more memory, or a smaller model."
    monkeypatch.setattr(weights, "free_memory", lambda: 3 * count)
    with pytest.raises(ModelError, match="its weights take"):
        load(folder, dtype="float32")


def test_a_slow_blas_is_said_once_on_stderr_by_commands() -> None:
    def next_token(blas: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "caa_registry", "next-token", "--model", "demo", "--json", "hello"],
            capture_output=True,
            text=True,
            env={**os.environ, "CAA_BLAS": blas},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    if sys.platform == "linux":
        said = next_token("libnothing-of-it.so").splitlines()
        assert len(said) == 1 and said[0].startswith("Note: MLX's own BLAS is in use (about 4 GFLOP/s). ")
        assert "caa doctor" in said[0]
    assert next_token("none") == ""


def test_a_large_vocabulary_is_dequantized_without_room_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pieces are given up before other weights are read."""

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [nn.Linear(1024, 1024, bias=False) for _ in range(4)]
            self.vocabulary = nn.Embedding(1 << 15, 64)

    network = Network()
    wanted = np.array(network.vocabulary.weight)
    nn.quantize(network, group_size=64, bits=4)
    mx.eval(network.parameters())
    monkeypatch.setattr(weights, "_PIECE", 1 << 20)
    mx.clear_cache()
    before = mx.get_active_memory() - weights.weight_bytes(network)
    weights._dequantize(network)
    mx.reset_peak_memory()
    weights.read_weights(network, "large")
    size, vocabulary = weights.weight_bytes(network), network.vocabulary.weight
    assert mx.get_peak_memory() - before < size + 0.75 * vocabulary.nbytes
    np.testing.assert_allclose(np.array(vocabulary), wanted, atol=np.abs(wanted).max() / 10)
