"""LoRA adapters for tiny models, in both layouts, and the same weights merged by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlx.core as mx

RANK, SCALE = 2, 1.5
PATHS = ("self_attn.q_proj", "mlp.down_proj")
LAYERS = (1, 2)


def deltas(model: Path, seed: int = 7) -> dict[str, tuple[mx.array, mx.array]]:
    """``lora_a`` (in, rank) and ``lora_b`` (rank, out) by the path of the layer that they stand beside."""
    mx.random.seed(seed)
    weights = mx.load(str(model / "model.safetensors"))
    found = {}
    for path in [f"model.layers.{layer}.{name}" for layer in LAYERS for name in PATHS]:
        rows, columns = weights[f"{path}.weight"].shape
        found[path] = mx.random.normal((columns, RANK)) * 0.2, mx.random.normal((RANK, rows)) * 0.2
    return found


def of_mlx_lm(folder: Path, model: Path, seed: int = 7, **changes: Any) -> Path:
    """An adapter as ``mlx_lm.lora`` writes it."""
    folder.mkdir(parents=True)
    config = {
        "model": "some/base",
        "fine_tune_type": "lora",
        "num_layers": len(LAYERS),
        "lora_parameters": {"rank": RANK, "scale": SCALE, "dropout": 0.5, "keys": list(PATHS)},
        "iters": 100,
        **changes,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    tensors = {}
    for path, (a, b) in deltas(model, seed).items():
        tensors |= {f"{path}.lora_a": a, f"{path}.lora_b": b}
    mx.save_safetensors(str(folder / "adapters.safetensors"), tensors)
    return folder


def of_peft(folder: Path, model: Path, seed: int = 7, **changes: Any) -> Path:
    """The same adapter as Hugging Face PEFT writes it."""
    folder.mkdir(parents=True)
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": "some/base",
        "r": RANK,
        "lora_alpha": SCALE * RANK,
        "bias": "none",
        "modules_to_save": None,
        "target_modules": ["q_proj", "down_proj"],
        "lora_dropout": 0.1,
        "use_rslora": False,
        **changes,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    tensors = {}
    for path, (a, b) in deltas(model, seed).items():
        stem = f"base_model.model.{path}"
        tensors |= {f"{stem}.lora_A.weight": a.T, f"{stem}.lora_B.weight": b.T}
    mx.save_safetensors(str(folder / "adapter_model.safetensors"), tensors)
    return folder


def merge(model: Path, scale: float = SCALE, seed: int = 7) -> None:
    """Change the weights of ``model`` into what the adapter makes of them."""
    path = model / "model.safetensors"
    weights = dict(mx.load(str(path)))
    for name, (a, b) in deltas(model, seed).items():
        weights[f"{name}.weight"] = weights[f"{name}.weight"] + scale * (a @ b).T
    mx.save_safetensors(str(path), weights)
