"""The identity of a model: digests of its weights, config, tokenizer and chat template.

A steering vector belongs to one set of weights. The four parts are kept apart, so that a comparison can say what
differs: another chat template is a smaller matter than other weights.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from caa_registry.digests import DIGEST, digest_file, digest_object, floats_as_text
from caa_registry.errors import ModelError
from caa_registry.progress import phase
from caa_registry.settings import home

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
# The template is a part of its own; the others say where a tokenizer came from, not what it does.
_OTHER_SETTINGS = {"chat_template", "name_or_path", "_name_or_path", "tokenizer_file", "transformers_version"}


@dataclass(frozen=True)
class Fingerprint:
    """Four digests. ``digest`` is the identity of the four together."""

    weights: str
    config: str
    tokenizer: str
    chat_template: str

    @property
    def digest(self) -> str:
        return digest_object(
            "model",
            {
                "weights": self.weights,
                "config": self.config,
                "tokenizer": self.tokenizer,
                "chat_template": self.chat_template,
            },
        )


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model without holding its weights.

    ``context_length`` is in tokens (``None``: the config does not say). ``revision`` is a 40-hex commit and only
    set for a model from a hub; ``path`` only for one from a folder.
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


def compare(a: ModelInfo, b: ModelInfo) -> Verdict:
    """How far two models are the same.

    ``exact``: all four parts; ``same-weights``: the weights (tokenizer, config or template differ);
    ``same-architecture``: architecture, depth and width; otherwise ``mismatch``.
    """
    if a.fingerprint == b.fingerprint:
        return "exact"
    if a.fingerprint.weights == b.fingerprint.weights:
        return "same-weights"
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


def fingerprint_folder(folder: Path, config: dict[str, Any], chat_template: str) -> Fingerprint:
    """The fingerprint of a model folder. Raises ``ModelError`` where it holds no weights."""
    files = weight_files(folder)
    manifest = [{"name": file.name, "size": file.stat().st_size, "sha256": cached_digest(file)} for file in files]
    return Fingerprint(
        weights=digest_object("weights", {"files": manifest}),
        config=digest_object("config", {"config": floats_as_text(_lasting(config))}),
        tokenizer=digest_object("tokenizer", _tokenizer_parts(folder)),
        chat_template=digest_object("chat-template", {"text": chat_template}),
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


def cached_digest(path: Path) -> str:
    """The digest of a file, remembered under (path, size, mtime, inode): weights are large and rarely change."""
    real = path.resolve()
    stat = real.stat()
    identity = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
    store = home() / "cache" / "file-digests.json"
    try:
        known = json.loads(store.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if not isinstance(known, dict):
        known = {}
    entry = known.get(str(real))
    if isinstance(entry, dict) and entry.get("identity") == identity and DIGEST.fullmatch(str(entry.get("digest"))):
        return str(entry["digest"])
    digest = digest_file(real, phase(f"hashing {path.name}"))
    known[str(real)] = {"identity": identity, "digest": digest}
    _replace(store, json.dumps(known, indent=1, sort_keys=True))
    return digest


def _replace(path: Path, text: str) -> None:
    # A cache: where it cannot be written the digest is simply computed again next time.
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except OSError:
        return
