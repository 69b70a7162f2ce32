"""GLP's keys in a control vector: what is to be done with the directions, where, and how strongly (spec versions 1, 2).

Some writers put numbers in texts; that is read. What a reader may not ignore is refused where it is unknown.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from caa_registry.errors import InputError
from caa_registry.formats.imported import BLOCK_OUTPUT
from caa_registry.formats.values import Values
from caa_registry.formats.vector_file import VectorFile

ADD, PROJECT = "add", "project"
_NEAR = 1e-3
_CORRECT = "One of the two is wrong; ask the author."


@dataclass(frozen=True)
class Glp:
    """``alpha``: the strength for all layers, 1 where none is given. ``dir_scales``, ``layer_scales``: what
    multiplies it. ``derived_at``: where the directions were measured, empty for where they are applied."""

    mode: str
    rank: int
    alpha: float | None
    dir_scales: tuple[float, ...]
    layer_scales: Mapping[int, float]
    derived_at: str

    def strengths(self, layers: list[int]) -> dict[int, float]:
        """By layer; nothing where the file gives none."""
        if self.alpha is None and not self.layer_scales:
            return {}
        return {
            layer: (1.0 if self.alpha is None else self.alpha) * self.layer_scales.get(layer, 1.0) for layer in layers
        }


def glp(file: VectorFile, said: Mapping[str, Any]) -> Glp:
    """The keys of a file. Raises ``InputError`` for a mode, a version or a hook point that is unknown, and for what
    the version that the file states does not have."""
    mode = said.get("glp.mode", ADD)
    if mode not in (ADD, PROJECT):
        raise file.error(
            f"the operation {str(mode)[:80]!r} is unknown", "Known are 'add' and 'project'.", field="glp.mode"
        )
    version = _number(file, said, "glp.spec_version")
    if version not in (None, 1, 2):
        raise file.error(f"version {version:g} is unknown; 1 and 2 are read", field="glp.spec_version")
    hook = said.get("glp.hook_point", BLOCK_OUTPUT)
    if hook != BLOCK_OUTPUT:
        raise file.error(
            f"it is to be applied at {str(hook)[:80]!r}, and vectors are applied at {BLOCK_OUTPUT!r} here",
            "Applied elsewhere it would do something else.",
            field="glp.hook_point",
        )
    rank = _number(file, said, "glp.rank")
    if rank is not None and (rank != int(rank) or not 1 <= rank <= 1024):
        raise file.error(f"{rank:g} is no number of directions", field="glp.rank")
    dir_scales = _floats(file, said, "glp.dir_scales")
    layer_scales = _pairs(file, said, "glp.layer_scales")
    if version != 2:
        for key, present in (
            ("glp.rank", (rank or 1) > 1), ("glp.dir_scales", dir_scales), ("glp.layer_scales", layer_scales)
        ):  # fmt: skip
            if present:
                stated = "none" if version is None else f"{version:g}"
                raise file.error(f"it needs glp.spec_version 2, and the file states {stated}", _CORRECT, field=key)
    if (rank or 1) > 1 and mode == ADD:
        raise file.error(
            "several directions a layer are only defined for the mode 'project'", _CORRECT, field="glp.rank"
        )
    if (rank or 1) > 1 and str(said.get("glp.orthonormal")).lower() not in ("true", "1"):
        raise file.error("a basis of several directions must be orthonormal", _CORRECT, field="glp.orthonormal")
    if dir_scales and len(dir_scales) != (rank or 1):
        raise file.error(f"it gives {len(dir_scales)} scales, and glp.rank is {rank or 1:g}", _CORRECT,
                         field="glp.dir_scales")  # fmt: skip
    derived_at = said.get("glp.derived_at", said.get("glp.derive_at", ""))
    return Glp(
        mode, int(rank or 1), _number(file, said, "glp.alpha_default"), dir_scales, layer_scales, str(derived_at)
    )


def check_layers(file: VectorFile, said: Mapping[str, Any], layers: list[int]) -> None:
    """Raise ``InputError`` where the layers that a key lists are not those of the tensors: the mark of an exporter that
    is one layer off."""
    for key, listed in (
        ("glp.layer_ids_zero_based", said.get("glp.layer_ids_zero_based")),
        ("glp.layer_scales", said.get("glp.layer_scales")),
    ):
        if listed is None or listed == "":
            continue
        ids = [part.partition(":")[0].strip() for part in str(listed).split(",")]
        wrong = sorted(ids) != sorted(map(str, layers)) if key.endswith("based") else set(ids) - set(map(str, layers))
        if wrong:
            raise file.error(
                f"it lists the layers {', '.join(ids)[:200]}, and the tensors are of the layers "
                f"{', '.join(map(str, layers))[:200]}",
                _CORRECT,
                field=key,
            )


def content_sha256(values: Mapping[int, Values]) -> str:
    """SHA-256 over the float32 bytes of the tensors, by ascending layer."""
    digest = hashlib.sha256()
    for layer in sorted(values):
        digest.update(np.ascontiguousarray(values[layer].numbers, dtype="<f4").tobytes())
    return digest.hexdigest()


def check_content(file: VectorFile, said: Mapping[str, Any], values: Mapping[int, Values]) -> None:
    """Raise ``InputError`` where the numbers are not those whose digest the file states."""
    stated = said.get("glp.content_sha256")
    if stated is not None and str(stated).removeprefix("sha256:").lower() != content_sha256(values):
        raise file.error(
            f"the file says its numbers have the SHA-256 {str(stated)[:80]}, and they have {content_sha256(values)}",
            "They were changed, or the file is damaged.",
            field="glp.content_sha256",
        )


def check_basis(file: VectorFile, values: Mapping[int, Values]) -> list[str]:
    """Warnings about directions that are projected out and are not of length 1. Raises ``InputError`` where those of a
    layer are several and not orthonormal."""
    odd = []
    for layer, each in values.items():
        rows = np.atleast_2d(each.numbers.astype(np.float64))
        if len(rows) > 1 and np.abs(rows @ rows.T - np.eye(len(rows))).max() > _NEAR:
            raise file.error("its directions are not orthonormal", _CORRECT, field=f"direction.{layer}")
        if len(rows) == 1 and abs(math.hypot(*rows[0]) - 1) > _NEAR:
            odd.append(str(layer))
    if not odd:
        return []
    return [f"Layer {', '.join(odd)[:100]}: the direction is not of length 1; projecting is quadratic in the length."]


def _number(file: VectorFile, said: Mapping[str, Any], key: str) -> float | None:
    if key not in said:
        return None
    try:
        if isinstance(said[key], bool | list):
            raise ValueError
        number = float(said[key])
    except ValueError:
        raise _no_number(file, key, said[key]) from None
    if not math.isfinite(number):
        raise _no_number(file, key, said[key])
    return number


def _floats(file: VectorFile, said: Mapping[str, Any], key: str) -> tuple[float, ...]:
    texts = [text for text in str(said.get(key, "")).split(",") if text.strip()]
    return tuple(number for text in texts if (number := _number(file, {key: text}, key)) is not None)


def _pairs(file: VectorFile, said: Mapping[str, Any], key: str) -> dict[int, float]:
    found: dict[int, float] = {}
    for text in (part for part in str(said.get(key, "")).split(",") if part.strip()):
        layer, colon, scale = text.strip().partition(":")
        number = _number(file, {key: scale}, key)
        if not colon or not layer.isascii() or not layer.isdigit() or len(layer) > 4 or number is None:
            raise _no_number(file, key, text)
        if int(layer) in found:
            raise file.error(f"it lists layer {layer} twice", _CORRECT, field=key)
        found[int(layer)] = number
    return found


def _no_number(file: VectorFile, key: str, text: object) -> InputError:
    return file.error(f"{str(text)[:80]!r} is no number", "Ask the author.", field=key)
