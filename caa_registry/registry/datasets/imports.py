"""Importing datasets: from files and the hub, and from what a Python program holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from caa_registry.references import check_name
from caa_registry.registry.datasets.store import NewVersion, register
from caa_registry.registry.provenance.runs import Activity
from caa_registry.registry.records import DatasetVersion
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.pairs.record import Imported
    from caa_registry.pairs.sources.given_rows import GivenRow


class DatasetImports:
    """What makes datasets of data from outside."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def import_(
        self,
        source: str | Mapping[str, str],
        *,
        name: str,
        split: str | None = None,
        columns: Mapping[str, str] | None = None,
        format: str | None = None,
        licence: str = "",
        mapping: str | None = None,
        limit: int | None = None,
        behavior: str = "",
        message: str = "",
    ) -> DatasetVersion:
        """Import a source as a new version of dataset ``name``.

        ``source`` is a path, ``hf:ORG/NAME[@REVISION][/FILE]``, ``seed:NAME`` or ``lines:POSITIVE,NEGATIVE``; or a
        mapping of split to source, imported as one version. All rows are read and checked before anything is
        written. The same rows again return the version that exists. ``behavior`` says what the pairs contrast; by
        default it is what a seed set's card states, else the last part of ``name``. ``mapping``: how the rows of a
        public dataset are read, a saved mapping or a YAML file. ``limit``: only the first rows of a file.

        Raises ``InputError`` naming file and row, ``UsageError`` for a bad name, ``HubError``, ``NotFoundError``.
        """
        from caa_registry.pairs.sources import read_source

        check_name(name)
        imported = read_source(
            source, split=split, columns=columns, format=format, licence=licence, mapping=mapping, limit=limit
        )
        return self.register(imported, name=name, behavior=behavior, message=message)

    def import_rows(
        self,
        rows: Sequence[GivenRow],
        *,
        name: str,
        split: str | None = None,
        columns: Mapping[str, str] | None = None,
        licence: str = "",
        behavior: str = "",
        message: str = "",
    ) -> DatasetVersion:
        """Import rows that are in memory, as ``import_`` does those of a file.

        A row is a ``Pair``, a dict with the columns of a file's row, or a tuple of (prompt, positive, negative) or
        (positive, negative). The version records the digest of the rows. Raises ``InputError`` naming the row (from 1),
        ``UsageError``.
        """
        from caa_registry.pairs.sources.given_rows import load_rows

        check_name(name)
        imported = load_rows(rows, split=split, columns=columns, licence=licence)
        return self.register(imported, name=name, behavior=behavior, message=message)

    def import_texts(
        self,
        positive: Sequence[str],
        negative: Sequence[str],
        *,
        name: str,
        split: str | None = None,
        licence: str = "",
        behavior: str = "",
        message: str = "",
    ) -> DatasetVersion:
        """Import two lists of whole texts, such as prompts: text i of one against text i of the other. Raises as
        ``import_rows``."""
        from caa_registry.pairs.sources.given_rows import load_texts

        check_name(name)
        imported = load_texts(positive, negative, split=split, licence=licence)
        return self.register(imported, name=name, behavior=behavior, message=message)

    def register(self, imported: Imported, *, name: str, behavior: str = "", message: str = "") -> DatasetVersion:
        """Store what ``read_source`` gave as a new version of dataset ``name``."""
        activity = Activity("import", self._workspace.actor, {"name": name})
        return register(self._workspace, NewVersion(imported, activity, name, behavior, message))
