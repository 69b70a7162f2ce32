"""The identity of a model: digests of its weights, config, tokenizer and chat template.

A steering vector belongs to one set of weights. The parts are kept apart, so that a comparison can say what differs:
another chat template is a smaller matter than other weights.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from caa_registry.digests import digest_file, digest_object, floats_as_text
from caa_registry.display.records import Record
from caa_registry.errors import ModelError
from caa_registry.models.folder.digests import listed, weight_digests

Verdict = Literal["exact", "same-weights", "same-architecture", "mismatch"]

# What a re-save or another library version changes without changing the model.
_VOLATILE_CONFIG = {"_name_or_path", "transformers_version", "torch_dtype", "dtype", "_commit_hash"}
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
)
_QUANTIZATION = "hf_quant_config.json"
_OTHER_VOCABULARIES = ("vocab.txt", "*.model")
# The template is a part of its own; the others say where a tokenizer came from, not what it does.
_OTHER_SETTINGS = {"chat_template", "name_or_path", "_name_or_path", "tokenizer_file", "transformers_version"}


@dataclass(frozen=True)
class Fingerprint(Record):
    """Digests of what a model is made of. ``digest`` is the identity of them together.

    Four parts every model has. ``tensors``: of the tensors, in whatever files they lie, and of how they are quantized;
    it is no part of the identity. ``files``: of the other files that change what is computed or where answers end.
    ``adapter``: of the LoRA adapter on top. The last two are ``None`` where there is nothing of the kind. A model that
    was recorded before there were ``tensors`` and ``files`` is compared without them.
    """

    weights: str
    config: str
    tokenizer: str
    chat_template: str
    tensors: str | None = None
    files: str | None = None
    adapter: str | None = None

    def _called(self) -> str:
        return self.digest

    @property
    def digest(self) -> str:
        parts = {
            "weights": self.weights,
            "config": self.config,
            "tokenizer": self.tokenizer,
            "chat_template": self.chat_template,
        }
        # Only where there are any: what a model without them was called stays its name.
        beside = {"files": self.files, "adapter": self.adapter}
        return digest_object("model", {**parts, **{name: part for name, part in beside.items() if part is not None}})

    @property
    def computing(self) -> str:
        """The identity of the weights that compute, an adapter's included."""
        return self.weights if self.adapter is None else f"{self.weights}+{self.adapter}"

    def same_weights(self, other: Fingerprint) -> bool:
        """Whether both compute with the same weights, be they in other files."""
        if self.adapter != other.adapter:
            return False
        if self.tensors is None or other.tensors is None:
            return self.weights == other.weights
        return self.tensors == other.tensors


@dataclass(frozen=True)
class ModelInfo(Record):
    """What is known of a model without holding its weights.

    ``context_length`` is in tokens (``None``: the config does not say). ``revision`` is a 40-hex commit and only
    set for a model from a hub; ``path`` only for one from a folder. ``adapter_path``: the folder of its LoRA adapter.
    """

    name: str
    fingerprint: Fingerprint
    architecture: str
    n_layers: int
    d_model: int
    context_length: int | None = None
    quantization: dict[str, Any] | None = None
    repo_id: str | None = None
    revision: str | None = None
    path: str | None = None
    adapter_path: str | None = None


def compare(a: ModelInfo, b: ModelInfo) -> Verdict:
    """How far two models are the same.

    ``exact``: all parts that both have; ``same-weights``: the weights (their files, tokenizer, config or template
    differ); ``same-architecture``: architecture, depth and width; otherwise ``mismatch``.
    """
    one, other = a.fingerprint, b.fingerprint
    if one.same_weights(other):
        compared = ["weights", "config", "tokenizer", "chat_template"]
        if one.tensors is not None and other.tensors is not None:
            compared.append("files")
        return "exact" if all(getattr(one, part) == getattr(other, part) for part in compared) else "same-weights"
    if (a.architecture, a.n_layers, a.d_model) == (b.architecture, b.n_layers, b.d_model):
        return "same-architecture"
    return "mismatch"


def weight_files(folder: Path) -> list[Path]:
    """The weight files that mlx-lm reads from ``folder``, by name. Raises ``ModelError`` where there are none."""
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise ModelError(
            f"{folder}: no weights (model*.safetensors) in this folder",
            "Give a model in the Hugging Face layout that mlx-lm reads.",
        )
    return files


def fingerprint_folder(
    folder: Path, config: dict[str, Any], chat_template: str, *, adapter: str | None = None, again: bool = False
) -> Fingerprint:
    """The fingerprint of a model folder, with the digest of an ``adapter`` on top.

    ``again``: every byte is read, whatever is remembered of the files. Raises ``ModelError`` where it holds no weights,
    or NaN or infinite weights.
    """
    found = {file: weight_digests(file, again=again) for file in weight_files(folder)}
    for file, digests in found.items():
        if digests.not_finite is not None:
            raise ModelError(
                f"{file}: the tensor {digests.not_finite} holds NaN or infinite values",
                "Fetch the file again, or use another version of the model.",
            )
    manifest = [{"name": file.name, "size": each.size, "sha256": each.file} for file, each in found.items()]
    tensors = listed(tensor for each in found.values() for tensor in each.tensors)
    quantized = folder / _QUANTIZATION
    return Fingerprint(
        weights=digest_object("weights", {"files": manifest}),
        config=digest_object("config", {"config": floats_as_text(_lasting(config))}),
        tokenizer=digest_object("tokenizer", _tokenizer_parts(folder)),
        chat_template=digest_object("chat-template", {"text": chat_template}),
        tensors=digest_object(
            "tensors", {"tensors": tensors, "quantization": digest_file(quantized) if quantized.is_file() else None}
        ),
        files=_other_files(folder, config),
        adapter=adapter,
    )


def _other_files(folder: Path, config: dict[str, Any]) -> str | None:
    """The digest of what else mlx-lm and the tokenizer library read; ``None`` where there is nothing."""
    names = {_QUANTIZATION, *(path.name for pattern in _OTHER_VOCABULARIES for path in folder.glob(pattern))}
    files = {
        name: digest_file(folder / name) for name in sorted(names - {*_TOKENIZER_FILES}) if (folder / name).is_file()
    }
    ends = None
    path = folder / "generation_config.json"
    if path.is_file():
        # mlx-lm takes from it where answers end. Where the config says the same, the config's digest covers it.
        generation = json.loads(path.read_text(encoding="utf-8"))
        ends = generation.get("eos_token_id") if isinstance(generation, dict) else None
        ends = None if not ends or ends == config.get("eos_token_id") else ends
    return (
        digest_object("model-files", {"files": files, "ends": floats_as_text(ends)})
        if files or ends is not None
        else None
    )


def _lasting(config: dict[str, Any]) -> dict[str, Any]:
    # Nested too: a model of several parts says the same of each part (text_config).
    kept = {key: value for key, value in config.items() if key not in _VOLATILE_CONFIG}
    return {key: _lasting(value) if isinstance(value, dict) else value for key, value in kept.items()}


def _tokenizer_parts(folder: Path) -> dict[str, Any]:
    names = {*_TOKENIZER_FILES, *(path.name for path in folder.glob("*.tiktoken"))}
    files = {name: digest_file(folder / name) for name in sorted(names) if (folder / name).is_file()}
    settings: dict[str, Any] = {}
    path = folder / "tokenizer_config.json"
    if path.is_file():
        values = json.loads(path.read_text(encoding="utf-8"))
        settings = {key: value for key, value in values.items() if key not in _OTHER_SETTINGS}
    return {"files": files, "settings": floats_as_text(settings)}
