"""Models as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caa_registry.models.rendering.sample import Sample
    from caa_registry.registry.records import ModelRecord


def model_json(record: ModelRecord) -> dict[str, Any]:
    """A model of the registry."""
    info = record.info
    return {
        "name": info.name,
        "fingerprint": info.fingerprint.digest,
        "weights": info.fingerprint.weights,
        "config": info.fingerprint.config,
        "tokenizer": info.fingerprint.tokenizer,
        "chat_template": info.fingerprint.chat_template,
        "tensors": info.fingerprint.tensors,
        "files": info.fingerprint.files,
        "adapter": info.fingerprint.adapter,
        "architecture": info.architecture,
        "n_layers": info.n_layers,
        "d_model": info.d_model,
        "context_length": info.context_length,
        "quantization": info.quantization,
        "repo_id": info.repo_id,
        "revision": info.revision,
        "path": info.path,
        "adapter_path": info.adapter_path,
        "vectors": record.vectors,
        "created_at": record.created_at.isoformat(),
    }


def sample_json(name: str, sample: Sample) -> dict[str, Any]:
    """A sample conversation as a model's template renders it."""
    return {
        "name": name,
        "template": sample.template,
        "template_digest": sample.rendering.digest,
        "differences": list(sample.rendering.differences),
        "system_prompt": "user" if sample.folded else "system",
        "parts": list(sample.parts),
        "text": "".join(token.text for token in sample.tokens),
        "tokens": [{"id": token.id, "text": token.text} for token in sample.tokens],
        "first_steered": sample.first_steered,
        "answer_start": sample.start,
        "read": sample.read,
    }


def verification_json(name: str, parts: Mapping[Any, bool]) -> dict[str, Any]:
    """Whether each part of a model's fingerprint is still what was recorded."""
    return {"name": name, "parts": dict(parts), "ok": all(parts.values())}
