"""The folder of a LoRA adapter: what it holds, checked, and the identity of that.

Two layouts are read: mlx-lm's own, and that of Hugging Face PEFT.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from caa_registry.digests import digest_object, floats_as_text
from caa_registry.disk import expanded
from caa_registry.errors import ModelError, NotFoundError
from caa_registry.models.folder.digests import Look, listed, look, weight_digests
from caa_registry.models.folder.json_files import json_object

Layout = Literal["mlx-lm", "peft"]

_CONFIG = "adapter_config.json"
_WEIGHTS: dict[Layout, str] = {"mlx-lm": "adapters.safetensors", "peft": "adapter_model.safetensors"}
# What of a config says how an adapter computes; the rest says how it was trained.
_COMPUTING: dict[Layout, tuple[str, ...]] = {
    "mlx-lm": ("fine_tune_type", "num_layers", "lora_parameters"),
    "peft": ("peft_type", "r", "lora_alpha", "use_rslora"),
}
# Settings of PEFT that compute something else than a low rank beside each weight, and what they are without it.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "use_dora": (None, False),
    "bias": (None, "none"),
    "modules_to_save": (None, []),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
    "fan_in_fan_out": (None, False),
    "layer_replication": (None,),
    # The other ways to begin take something out of the model's own weights first.
    "init_lora_weights": (None, True, False, "gaussian", "eva", "orthogonal"),
    "lora_bias": (None, False),
    "use_qalora": (None, False),
    "use_bdlora": (None, False),
    "alora_invocation_tokens": (None, []),
    "trainable_token_indices": (None, [], {}),
    "target_parameters": (None, []),
    "arrow_config": (None,),
}
_WHOLE = ("r", "num_layers", "lora_parameters.rank")


@dataclass(frozen=True)
class Adapter:
    """An adapter on disk: its folder, layout and config, the file of its weights, how that looked before it was read,
    and the digest of what computes."""

    folder: Path
    layout: Layout
    config: Mapping[str, Any]
    weights: Path
    look: Look
    digest: str


def open_adapter(folder: str | Path, *, again: bool = False) -> Adapter:
    """The adapter in ``folder``. ``again``: every byte is read, whatever is remembered of the file.

    Raises ``NotFoundError`` where there is no such folder, ``ModelError`` for one that holds no LoRA adapter, or a
    broken one.
    """
    path = expanded(folder).resolve()
    if not path.is_dir():
        raise NotFoundError(f"there is no adapter folder {folder}", "Give the folder of a LoRA adapter.")
    if not (path / _CONFIG).is_file():
        hint = (
            "Give a model with --model." if (path / "config.json").is_file() else "Give the folder of a LoRA adapter."
        )
        raise ModelError(f"{path}: no {_CONFIG} in this folder, so it is not an adapter", hint)
    config = json_object(path / _CONFIG)
    layout: Layout = "peft" if "peft_type" in config else "mlx-lm"
    _check_config(path / _CONFIG, config, layout)
    weights = path / _WEIGHTS[layout]
    if not weights.is_file():
        raise ModelError(f"{path}: no weights ({weights.name}) in this adapter", "Fetch the adapter again.")
    before = look(weights)
    found = weight_digests(weights, again=again)
    if not found.tensors:
        raise ModelError(f"{weights}: holds no tensors, so it would change nothing", "Fetch the adapter again.")
    if found.not_finite is not None:
        raise ModelError(
            f"{weights}: the tensor {found.not_finite} holds NaN or infinite values",
            "Fetch the adapter again.",
        )
    computing = {key: config.get(key) for key in _COMPUTING[layout]}
    if isinstance(parameters := computing.get("lora_parameters"), dict):
        computing["lora_parameters"] = {key: parameters.get(key) for key in ("rank", "scale", "keys")}
    digest = digest_object(
        "adapter", {"layout": layout, "config": floats_as_text(computing), "tensors": listed(found.tensors)}
    )
    return Adapter(path, layout, config, weights, before, digest)


def refuse_adapter(folder: Path) -> None:
    """Raise ``ModelError`` where ``folder``, which is given as a model, is an adapter."""
    if not (folder / _CONFIG).is_file() or any(folder.glob("model*.safetensors")):
        return
    config = json_object(folder / _CONFIG)
    base = config.get("base_model_name_or_path") or config.get("model")
    named = f" ({base}, according to its config)" if isinstance(base, str) else ""
    raise ModelError(
        f"{folder}: is an adapter, not a model",
        f"Give the model it was trained on{named} as the model, and this folder with --adapter.",
    )


def _check_config(path: Path, config: Mapping[str, Any], layout: Layout) -> None:
    if layout == "peft":
        for key, plain in _PLAIN.items():
            if config.get(key) not in plain:
                raise ModelError(
                    f"{path}: {key} is {config.get(key)!r}, and only plain LoRA adapters are supported",
                    "Merge the adapter into its model, and give that as the model.",
                )
        numbers: Mapping[str, Any] = {"r": config.get("r"), "lora_alpha": config.get("lora_alpha")}
    else:
        kind, parameters = config.get("fine_tune_type", "lora"), config.get("lora_parameters")
        if kind not in ("lora", "dora"):
            raise ModelError(
                f"{path}: fine_tune_type is {kind!r}, and only lora and dora are adapters",
                "Fuse it with its model (mlx_lm.fuse), and give that as the model.",
            )
        if not isinstance(parameters, dict):
            raise ModelError(f"{path}: lora_parameters is missing or not an object", "Fetch the adapter again.")
        numbers = {"num_layers": config.get("num_layers")}
        numbers |= {f"lora_parameters.{key}": parameters.get(key) for key in ("rank", "scale")}
    for key, value in numbers.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < abs(value) < 1e6:
            raise ModelError(f"{path}: {key} is {value!r}, where a number belongs", "Fetch the adapter again.")
        if key in _WHOLE and not isinstance(value, int):
            raise ModelError(f"{path}: {key} is {value!r}, where a whole number belongs", "Fetch the adapter again.")
