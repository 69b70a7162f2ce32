"""Whether a folder holds a model, judged by its files: before mlx-lm makes anything of them."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import Any

from caa_registry.errors import ModelError
from caa_registry.models.folder.fingerprint import weight_files
from caa_registry.models.folder.json_files import check_no_pointer, json_object
from caa_registry.models.folder.limits import check_config, check_token_ids
from caa_registry.models.folder.shards import Stored, few, stored_weights

# Read by mlx-lm or the tokenizer library where they are there.
_SETTINGS = ("generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "*.tiktoken", "tiktoken.model")
_TEXTS = ("*.jinja", "additional_chat_templates/*.jinja", "chat_template.json", "merges.txt", "hf_quant_config.json")
_TYPE = re.compile(r"[\w-]+")


def checked_config(folder: Path, tensors: int | None = None) -> dict[str, Any]:
    """The config of ``folder`` as it is stored. ``tensors``: how many the weight files hold, where they are there.

    Raises ``ModelError`` for one that is broken, absurd, or of a model that brings its own code.
    """
    path = folder / "config.json"
    config = json_object(path)
    kind = config.get("model_type")
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        raise ModelError(
            f"{path}: model_type is {'missing' if kind is None else repr(kind)[:60]}, so the architecture is unknown",
            "Give a model in Hugging Face layout.",
        )
    if config.get("model_file") is not None:
        raise ModelError(
            f"{path}: model_file asks to run {config['model_file']!r}, and code in a model folder is never run",
            "Use a model of an architecture that mlx-lm has.",
        )
    check_config(path, config, tensors)
    return config


def checked_weights(folder: Path) -> Stored:
    """The tensors stored in ``folder`` by name, each with its file. Raises ``ModelError`` where weights are missing,
    broken, or not in the layout that mlx-lm reads."""
    if glob.escape(str(folder)) != str(folder):
        # mlx-lm takes the path as a pattern, and would read the weights of another folder that fits it.
        raise ModelError(
            f"{folder}: its path has one of the characters * ? [, which mlx-lm cannot open", "Rename the folder."
        )
    if not any(folder.glob("model*.safetensors")):
        others = [*folder.glob("*.bin"), *folder.glob("*.gguf"), *folder.glob("*.pt"), *folder.glob("*.pth")]
        others += [*folder.glob("*.npz"), *folder.glob("*.safetensors")]
        if others:
            raise ModelError(
                f"{folder}: no weights (model*.safetensors) in this folder, only {few(file.name for file in others)}",
                "Convert the model with mlx_lm.convert, or fetch a version in safetensors.",
            )
    return stored_weights(folder, weight_files(folder))


def check_files(folder: Path) -> None:
    """Raise ``ModelError`` for a tokenizer, template or settings file of ``folder`` that is missing or broken."""
    present = [path for pattern in (*_TOKENIZERS, *_TEXTS) for path in sorted(folder.glob(pattern))]
    for path in present:
        _check_readable(path)
    for name in _SETTINGS:
        if (folder / name).exists() or (folder / name).is_symlink():
            settings = json_object(folder / name)
            if name == "generation_config.json":
                check_token_ids(folder / name, settings)
            if name == "tokenizer_config.json":
                _check_longest(folder / name, settings.get("model_max_length"))
    if not any(any(folder.glob(pattern)) for pattern in _TOKENIZERS):
        raise ModelError(f"{folder}: no tokenizer (tokenizer.json) in this folder", "Fetch the files of its tokenizer.")


def _check_longest(path: Path, value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ModelError(f"{path}: model_max_length is {value!r:.60}, not a number", "Correct it, or take it out.")


def _check_readable(path: Path) -> None:
    try:
        check_no_pointer(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}", "Fetch it again.") from error
