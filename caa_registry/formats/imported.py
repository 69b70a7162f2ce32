"""What a vector file says: its numbers by layer, and what the file means by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from caa_registry.display.records import Record
from caa_registry.errors import InputError, UsageError
from caa_registry.formats.claims import Claims, FileDigest, Scale
from caa_registry.formats.values import Values
from caa_registry.formats.vector_file import VectorFile
from caa_registry.vectors import LayerVector, VectorSet
from caa_registry.wording import named_layers

BLOCK_OUTPUT = "residual_stream_post_layer"
"""The only hook point that is read: the residual stream behind a block. The name is GLP's."""
FINAL_NORM = "final_norm"
"""Where the last entry of Hugging Face's ``hidden_states`` is taken: behind the norm that follows the last block."""

_NEAR_UNIT = 1e-3
_STATEMENTS = 64
_LONGEST_STATEMENT = 4000


@dataclass(frozen=True, eq=False)
class ImportedVectors(Record):
    """Vectors of another tool.

    ``directions``: float32 by layer, ascending; layer L is the 0-based block whose output is steered. ``(d_model,)``
    for a steering vector, ``(rank, d_model)`` for a subspace; a file may also hold ``(0,)`` or ``()``, which steer
    nothing. ``format``, ``producer``: the name in ``FORMATS``, and the tool, empty where the file does not tell.
    ``files``: what was read. ``layer_rule``: how the file's index became L. ``hook_point``: where it is applied.
    ``derived_at``: by layer where it was measured, where that is elsewhere. ``top_is_final_norm``: the tool reads
    Hugging Face hidden states, so that layer ``n_layers - 1`` was measured behind the final norm, whichever that is.
    ``scale``: see ``Scale``. ``operation``: ``add``, ``project``, ``clamp``, or as the file names it. ``strengths``:
    by layer what the file wants the vector multiplied by; never folded in. ``dtypes``: the file's number types.
    ``untested``: the format was read from its description, never compared with a file of its producer.
    ``not_addable``: why adding these would be wrong, empty where it is right. ``said``: the ``layer`` and the ``row``
    that the user named.
    """

    _facts: ClassVar = (
        "format producer operation scale hook_point layer_rule derived_at top_is_final_norm claims strengths dtypes "
        "untested not_addable warnings files"
    )

    directions: Mapping[int, NDArray[np.float32]]
    format: str
    producer: str
    files: tuple[FileDigest, ...]
    layer_rule: str
    hook_point: str
    derived_at: Mapping[int, str]
    top_is_final_norm: bool
    scale: Scale
    operation: str
    strengths: Mapping[int, float]
    dtypes: tuple[str, ...]
    claims: Claims
    untested: bool
    not_addable: str
    warnings: tuple[str, ...]
    said: Mapping[str, int]

    @property
    def rank(self) -> int:
        """Directions a layer."""
        first = next(iter(self.directions.values()))
        return int(first.shape[0]) if first.ndim == 2 else 1

    @property
    def vectors(self) -> VectorSet:
        """One row a layer. Raises ``UsageError`` where a layer has no row or several."""
        if any(numbers.ndim != 1 or not numbers.size for numbers in self.directions.values()):
            raise UsageError(f"{self.files[0].name} is not one vector a layer: {self.not_addable}")
        return VectorSet.of(LayerVector(layer, numbers) for layer, numbers in self.directions.items())

    def as_json(self) -> dict[str, Any]:
        """All but the numbers, as plain JSON; layers are keys as text."""
        return {
            "format": self.format,
            "producer": self.producer,
            "files": [vars(each) for each in self.files],
            "layers": list(self.directions),
            "layer_rule": self.layer_rule,
            "hook_point": self.hook_point,
            "derived_at": {str(layer): where for layer, where in self.derived_at.items()},
            "top_is_final_norm": self.top_is_final_norm,
            "scale": self.scale,
            "operation": self.operation,
            "rank": self.rank,
            "strengths": {str(layer): strength for layer, strength in self.strengths.items()},
            "dtypes": list(self.dtypes),
            "claims": self.claims.as_json(),
            "untested": self.untested,
            "not_addable": self.not_addable,
            "warnings": list(self.warnings),
        }


def imported(
    file: VectorFile,
    format: str,
    values: Mapping[int, Values],
    layer_rule: str,
    *,
    producer: str = "",
    derived_at: Mapping[int, str] | None = None,
    top_is_final_norm: bool = False,
    scale: Scale = "raw",
    operation: str = "add",
    strengths: Mapping[int, float] | None = None,
    claims: Claims | None = None,
    untested: bool = False,
    warnings: Sequence[str] = (),
) -> ImportedVectors:
    """The result of reading ``file``. A single row in a table of one is a row; where all rows have length 1, the
    scale is ``unit``. Raises ``InputError`` where no layer is left, shapes differ, or the model has fewer blocks."""
    if not values:
        raise file.error("it holds no vector of a block's output", "Name the file of a steering vector.")
    rows = {layer: _as_row(values[layer].numbers) for layer in sorted(values)}
    shapes = {layer: numbers.shape for layer, numbers in rows.items()}
    first = next(iter(shapes))
    for layer, shape in shapes.items():
        if shape != shapes[first]:
            raise file.error(
                f"layer {first} has shape {list(shapes[first])} and layer {layer} has {list(shape)}",
                "The vectors of a file have one shape; name the file of one vector.",
            )
    claimed = claims.layers if claims else None
    if claimed is not None and max(rows) >= claimed:
        raise file.error(
            f"it has layer {max(rows)}, and says that the model has {claimed}, 0 to {claimed - 1}",
            "One of the two is wrong: correct it where the file was made.",
        )
    notes = list(warnings)
    change = max(each.change for each in values.values())
    if change:
        notes.append(f"Numbers are rounded to float32, which changes them by up to {change:.1e} of their size.")
    lengths = {layer: _lengths(numbers) for layer, numbers in rows.items()}
    if scale in ("raw", "unknown") and all((abs(each - 1) < _NEAR_UNIT).all() for each in lengths.values()):
        scale = "unit"
    zero = [layer for layer, each in lengths.items() if each.size and not each.any()]
    if zero:
        notes.append(f"{named_layers(zero).capitalize()}: the vector is zero, and steers nothing.")
    if top_is_final_norm:
        notes.append(
            f"{producer}: a vector that was read from Hugging Face hidden states is, at the model's last block, one of "
            "the final norm's output; steer an earlier layer."
        )
    if untested:
        notes.append("The format was read as it is described; no file of its producer was compared.")
    return ImportedVectors(
        directions=rows,
        format=format,
        producer=producer,
        files=(FileDigest(file.name, len(file.data), file.sha256),),
        layer_rule=layer_rule,
        hook_point=BLOCK_OUTPUT,
        derived_at=dict(derived_at or {}),
        top_is_final_norm=top_is_final_norm,
        scale=scale,
        operation=operation,
        strengths=dict(strengths or {}),
        dtypes=tuple(sorted({each.dtype for each in values.values()})),
        claims=claims or Claims(),
        untested=untested,
        not_addable=_not_addable(shapes[first], operation),
        warnings=tuple(notes),
        said=file.said,
    )


def merged(parts: Sequence[ImportedVectors]) -> ImportedVectors:
    """Several files, each with other layers of one vector, as one. Raises ``InputError`` where they do not belong
    together: a layer twice, other widths, formats, meanings or claims."""
    first = parts[0]
    named: dict[int, str] = {}
    for part in parts:
        name = part.files[0].name
        for layer in part.directions:
            if layer in named:
                raise InputError(
                    f"layer {layer} is in {named[layer]} and in {name}", "Name each layer's file once.", source=name
                )
            named[layer] = name
        for what in ("format", "operation", "producer", "scale"):
            if getattr(part, what) != getattr(first, what):
                raise _apart(first, part, what, getattr(first, what), getattr(part, what))
        shapes = [next(iter(each.directions.values())).shape for each in (first, part)]
        if shapes[0] != shapes[1]:
            raise _apart(first, part, "shape", list(shapes[0]), list(shapes[1]))
        for what in ("model", "revision", "model_type", "layers", "data", "method", "reference"):
            if getattr(part.claims, what) != getattr(first.claims, what):
                raise _apart(first, part, what, getattr(first.claims, what), getattr(part.claims, what))
        digests = [{k: v for k, v in each.claims.digests.items() if k != "tensors"} for each in (first, part)]
        if digests[0] != digests[1]:
            raise _apart(first, part, "claim of digests", digests[0], digests[1])
    directions = {layer: numbers for part in parts for layer, numbers in part.directions.items()}
    return replace(
        first,
        directions={layer: directions[layer] for layer in sorted(directions)},
        files=tuple(each for part in parts for each in part.files),
        derived_at={layer: where for part in parts for layer, where in part.derived_at.items()},
        strengths={layer: strength for part in parts for layer, strength in part.strengths.items()},
        dtypes=tuple(sorted({dtype for part in parts for dtype in part.dtypes})),
        claims=replace(first.claims, digests={k: v for k, v in first.claims.digests.items() if k != "tensors"}),
        warnings=tuple(dict.fromkeys(note for part in parts for note in part.warnings)),
    )


def statements(said: Mapping[str, Any]) -> dict[str, str]:
    """What a file says besides its numbers, as text: the first keys, each up to some thousand characters."""
    kept = list(said.items())[:_STATEMENTS]
    return {str(key)[:200]: str(value)[:_LONGEST_STATEMENT] for key, value in kept if value not in (None, "")}


def _apart(first: ImportedVectors, part: ImportedVectors, what: str, one: object, other: object) -> InputError:
    names = first.files[0].name, part.files[0].name
    return InputError(
        f"the {what} is {one!r} in {names[0]} and {other!r} in {names[1]}",
        "Import files that are not layers of one vector one by one.",
        source=names[1],
    )


def _as_row(numbers: NDArray[np.float32]) -> NDArray[np.float32]:
    return numbers[0] if numbers.ndim == 2 and numbers.shape[0] == 1 else numbers


def _lengths(numbers: NDArray[np.float32]) -> NDArray[np.float64]:
    # In float64: published directions have lengths near 1e29, whose squares float32 does not hold.
    wide = numbers.astype(np.float64)
    return np.sqrt(np.atleast_1d((wide * wide).sum(axis=-1))) if numbers.size else np.zeros(0)


def _not_addable(shape: tuple[int, ...], operation: str) -> str:
    if not shape:
        return "it is a single number"
    if 0 in shape:
        return "it has no numbers"
    if len(shape) > 1:
        return f"it has {shape[0]} directions a layer (operation {operation!r}), and their sum means nothing"
    return "" if operation == "add" else f"its operation is {operation!r}, not 'add'"
