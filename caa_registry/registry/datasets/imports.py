"""Importing datasets: from files and the hub, and from what a Python program holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from caa_registry.errors import UsageError
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
        self._workspace.database.check_writable()
        imported = read_source(
            source, split=split, columns=columns, format=format, licence=licence, mapping=mapping, limit=limit
        )
        return self.register(imported, name=name, behavior=behavior, message=message)

    def add(
        self,
        name: str,
        *,
        pairs: Sequence[GivenRow] | None = None,
        positive: Sequence[str] | None = None,
        negative: Sequence[str] | None = None,
        split: str | None = None,
        columns: Mapping[str, str] | None = None,
        licence: str = "",
        behavior: str = "",
        message: str = "",
    ) -> DatasetVersion:
        """Store what a Python program holds as a new version of dataset ``name``, checked and recorded as an import.

        Either ``pairs``, each a ``Pair``, a tuple of (prompt, positive, negative), or a dict with the columns of a
        file's row, its own ``split`` and metadata among them. Or two lists of whole texts, text i of ``positive``
        against text i of ``negative``, such as steered prompts; their prompt is empty. Nothing is stored unless every
        row is sound. The same pairs have the digest that they have in a file. ``split``, ``licence``, ``behavior`` and
        ``message`` as in ``import_``; ``columns``: the keys of dicts with other names, ``{"prompt": "question"}``.

        Raises ``InputError`` naming the row (from 1) and the field, ``UsageError`` for a bad name, for both forms or
        neither, and for lists of unequal length.
        """
        from caa_registry.pairs.sources.given_rows import load_rows, load_texts

        check_name(name)
        if pairs is not None and positive is None and negative is None:
            imported = load_rows(pairs, split=split, columns=columns, licence=licence)
        elif pairs is None and positive is not None and negative is not None and not columns:
            imported = load_texts(positive, negative, split=split, licence=licence)
        else:
            raise UsageError(
                f"it is not clear what to add to {name}",
                "Give pairs=[...], with columns= where they are dicts with other keys; or positive=[...] and "
                "negative=[...], two lists of whole texts.",
            )
        return self.register(imported, name=name, behavior=behavior, message=message)

    def register(self, imported: Imported, *, name: str, behavior: str = "", message: str = "") -> DatasetVersion:
        """Store what ``read_source`` gave as a new version of dataset ``name``."""
        activity = Activity("import", self._workspace.actor, {"name": name})
        return register(self._workspace, NewVersion(imported, activity, name, behavior, message))
