"""What is written beside the numbers of an exported vector: the version that they are of, and what it was made from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from caa_registry.digests import canonical_json
from caa_registry.formats.claims import Claims
from caa_registry.formats.imported import ImportedVectors
from caa_registry.formats.text import object_of
from caa_registry.formats.vector_file import VectorFile

KEY = "caa_registry"
"""Under which a card stands in files that have room for keys of other programs."""


@dataclass(frozen=True)
class Card:
    """``reference``, ``digest``: the version. ``dataset``, ``dataset_digest``, ``fingerprint``: what it was made from.
    ``model``, ``revision``: the model on a hub, ``revision`` its 40-digit commit. ``model_type``: as its config has it.
    ``n_layers``: its blocks. ``method``: how the vectors were computed. ``multiplier``: what the version's numbers were
    multiplied by. Empty where unknown, or nothing.
    """

    reference: str = ""
    digest: str = ""
    dataset: str = ""
    dataset_digest: str = ""
    fingerprint: str = ""
    model: str = ""
    revision: str = ""
    model_type: str = ""
    n_layers: int | None = None
    method: str = ""
    multiplier: str = ""

    def as_json(self, tensor_digest: str) -> dict[str, Any]:
        """What is known, with the digest of the numbers."""
        known = {name: value for name, value in asdict(self).items() if value not in ("", None)}
        return {**known, "tensor_digest": tensor_digest}

    def as_text(self, tensor_digest: str) -> str:
        """The same as canonical JSON."""
        return canonical_json(self.as_json(tensor_digest))


def claims_of(file: VectorFile, text: str, field: str = KEY) -> Claims:
    """What a card in ``text`` claims. Raises ``InputError`` where it is no JSON object."""
    said = object_of(file, text, field)
    keys = {"version": "digest", "tensors": "tensor_digest", "dataset": "dataset_digest", "model": "fingerprint"}
    model, revision, model_type, method, reference = (
        str(said.get(key, "")) for key in ("model", "revision", "model_type", "method", "reference")
    )
    layers = said.get("n_layers")
    multiplier = str(said.get("multiplier", ""))
    if multiplier:
        # The numbers are not those of that version.
        reference, keys = f"{reference} times {multiplier}", {k: v for k, v in keys.items() if k != "version"}
    return Claims(
        model=model,
        revision=revision,
        model_type=model_type,
        method=method,
        reference=reference,
        data=str(said.get("dataset", "")),
        layers=layers if type(layers) is int else None,
        digests={name: str(said[key]) for name, key in keys.items() if said.get(key)},
    )


def check_digest(file: VectorFile, result: ImportedVectors, field: str = KEY) -> None:
    """Raise ``InputError`` where the numbers are not those whose digest the file's card gives."""
    stated = result.claims.digests.get("tensors", "")
    is_rows = all(numbers.ndim == 1 and numbers.size for numbers in result.directions.values())
    found = result.vectors.tensor_digest if is_rows else "none"
    if stated and stated != found:
        raise file.error(
            f"the file says that its numbers have the digest {stated[:80]}, and they have {found}",
            "It was changed after it was written; export it again.",
            field=field,
        )


def compact(value: Any) -> bytes:
    """``value`` as the bytes of a JSON file: the same for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
