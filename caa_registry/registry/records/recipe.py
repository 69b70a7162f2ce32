"""How a vector was computed: the recipe that its digest covers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from caa_registry.display.records import Record
from caa_registry.errors import UsageError
from caa_registry.models.read_position import ReadPosition, check_read
from caa_registry.models.rendering.prompts import TemplateName, check_template
from caa_registry.registry.records.stored import Stored

_REVISION = 1


@dataclass(frozen=True)
class Normalized(Record):
    """That a vector was brought to the mean length of several. ``of``: the digest of the vector it was made from;
    ``together``: the digests of all of them, sorted."""

    of: str
    together: tuple[str, ...]


@dataclass(frozen=True)
class Recipe(Record):
    """How a vector was computed.

    ``method``: the name of the estimator, which an extension may have brought. ``split``: of which rows; ``read``: at
    which token; ``template``: how they were rendered, with the digest of the template's text; ``layers`` ascending;
    ``dtype``: what the model computed in; ``pairs``: how many were read, and ``skipped_too_long`` how many were left
    out. ``rendering``: what revision 2 of the rendering writes otherwise with this template than revision 1, in words.
    """

    _facts: ClassVar = (
        "method split read template template_digest layers dtype pairs skipped_too_long normalized rendering"
    )

    method: str
    split: str
    read: ReadPosition
    template: TemplateName
    template_digest: str
    layers: tuple[int, ...]
    dtype: str
    pairs: int
    skipped_too_long: int
    normalized: Normalized | None = None
    rendering: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What is stored, and what the digest of a vector covers. The same recipe gives the same JSON for ever."""
        values: dict[str, Any] = {
            "method": self.method,
            "split": self.split,
            "read": self.read,
            "template": self.template,
            "template_digest": self.template_digest,
            "layers": list(self.layers),
            "dtype": self.dtype,
            "pairs": self.pairs,
            "skipped_too_long": self.skipped_too_long,
        }
        if self.normalized is not None:
            values["normalized"] = {"of": self.normalized.of, "with": list(self.normalized.together)}
        if self.rendering:
            values["rendering"] = {"revision": 2, "differences": list(self.rendering)}
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any], vector: str) -> Recipe:
        """What ``to_json`` gave, of any revision. Raises ``RegistryError`` naming the ``vector`` and the key."""
        stored = Stored(values, f"the recipe of {vector}")
        stored.check_revision(_REVISION)
        normalized = None
        if "normalized" in values:
            part = Stored(stored.get("normalized", dict), f"'normalized' in the recipe of {vector}")
            normalized = Normalized(part.get("of", str), tuple(part.get("with", list)))
        rendering: tuple[str, ...] = ()
        if "rendering" in values:
            part = Stored(stored.get("rendering", dict), f"'rendering' in the recipe of {vector}")
            rendering = tuple(part.get("differences", list))
        try:
            return cls(
                method=stored.get("method", str),
                split=stored.get("split", str),
                read=check_read(stored.get("read", str)),
                template=check_template(stored.get("template", str)),
                template_digest=stored.get("template_digest", str),
                layers=tuple(stored.get("layers", list)),
                dtype=stored.get("dtype", str),
                pairs=stored.get("pairs", int),
                skipped_too_long=stored.get("skipped_too_long", int),
                normalized=normalized,
                rendering=rendering,
            )
        except UsageError as error:
            raise stored.unreadable(error.message) from error
