"""JSON that the catalogue keeps, read back: what is missing or of another kind is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from caa_registry.errors import RegistryError

T = TypeVar("T")


@dataclass(frozen=True)
class Stored:
    """One JSON object of the catalogue. ``what`` names it in errors, such as ``the recipe of team/x:v1``.

    ``revision`` is the object's own ``revision``, 1 where it has none: revisions are counted from the second on.
    """

    values: Mapping[str, Any]
    what: str

    @property
    def revision(self) -> int:
        found = self.values.get("revision", 1)
        return found if isinstance(found, int) else 0

    def check_revision(self, newest: int) -> None:
        """Raise ``RegistryError`` for a revision that this version of the package does not know."""
        if not 1 <= self.revision <= newest:
            raise RegistryError(
                f"{self.what} has revision {self.values.get('revision')!r}; this version reads 1 to {newest}",
                "Use the version of caa-registry that wrote it, or a newer one.",
            )

    def get(self, key: str, kind: type[T], default: T | None = None) -> T:
        """The value of ``key``. Raises ``RegistryError`` where it is missing without a default, or of another kind."""
        value = self.values.get(key, default)
        # A JSON number is a float even where it is written without a point; true and false are no numbers.
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.unreadable(f"{key!r} {f'is {value!r}' if key in self.values else 'is missing'}")
        return value

    def unreadable(self, why: str) -> RegistryError:
        """The error that says why it cannot be read."""
        return RegistryError(
            f"{self.what} (revision {self.revision}) cannot be read: {why}",
            "Restore the registry from a backup, or open it with the version that wrote this.",
        )
