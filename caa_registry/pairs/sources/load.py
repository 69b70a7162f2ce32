"""The one entry point of imports: a source is a path, ``hf:``, ``seed:`` or ``lines:``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from caa_registry.errors import UsageError
from caa_registry.extensions import Extensions, resolve
from caa_registry.pairs.lint.replies import Mixture
from caa_registry.pairs.record import Imported, PairItem, QuestionItem, check_split_name
from caa_registry.pairs.source import Source
from caa_registry.pairs.sources.columns import check_mapping
from caa_registry.pairs.sources.files import read_file, readable
from caa_registry.pairs.sources.formats import check_format
from caa_registry.pairs.sources.mappings import SavedMapping, find_mapping
from caa_registry.pairs.sources.replies import mixture_notes, reply_notes
from caa_registry.pairs.sources.saved_folders import is_saved_folder, load_folder
from caa_registry.pairs.sources.table import read_table


@dataclass(frozen=True)
class Scheme:
    """Sources that are written ``NAME:...``.

    ``reader``: the module and function that take the whole source and, as keywords, ``split``, ``columns``, ``format``
    and ``licence`` as ``load`` has them, and those of ``mapping`` and ``limit`` that ``takes`` names.
    """

    reader: str
    takes: tuple[str, ...] = ()


SCHEMES: Extensions[Scheme] = Extensions(
    "source",
    {
        "hf": Scheme("caa_registry.pairs.sources.hub:load_hub", ("mapping", "limit")),
        "seed": Scheme("caa_registry.pairs.sources.seeds:load_seed"),
        "lines": Scheme("caa_registry.pairs.sources.lines:load_lines"),
    },
)

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def load(
    source: str,
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,
    licence: str = "",
    mapping: SavedMapping | str | None = None,
    limit: int | None = None,
) -> Imported:
    """The items of ``source`` in file order.

    ``split`` names the split of every row; without it rows that name their own keep it, other pairs go to
    ``generate``, multiple choice and open-ended questions to ``test``. ``columns`` maps parts (prompt, positive,
    negative, system, split, question) to column names; ``mapping`` names a saved mapping, or a file with one
    (``sources/mappings.py``). ``licence`` is recorded as given; otherwise what a seed card, a hub card or the mapping
    says. ``limit``: the first rows of a file; of a large one on a hub no more is downloaded.

    Raises ``UsageError``, ``NotFoundError``, ``InputError`` (source and 1-based row) or ``HubError``. The first bad
    row ends the import.
    """
    columns = columns or {}
    check_split_name(split)
    check_format(format)
    check_mapping(columns)
    if not source:
        raise UsageError("the source is empty", "Name a file, hf:ORG/NAME or seed:NAME.")
    if limit is not None and limit < 1:
        raise UsageError(f"a limit of {limit} rows leaves nothing", "Give at least 1.")
    options: dict[str, Any] = {"split": split, "columns": columns, "format": format, "licence": licence}
    if mapping is not None:
        if columns or format:
            raise UsageError("a mapping defines how rows are read", "Leave --column and --format out.")
        options["mapping"] = find_mapping(mapping) if isinstance(mapping, str) else mapping
    if limit is not None:
        options["limit"] = limit
    imported = _reader(source, format, options)(source, **options)
    # Recorded, so that the import can be repeated.
    return replace(
        imported,
        source=replace(imported.source, split=split, limit=limit),
        notes=[*imported.notes, *reply_notes(_pairs(imported))],
    )


def _reader(source: str, format: str | None, options: Mapping[str, Any]) -> Callable[..., Imported]:
    name, colon, _ = source.partition(":")
    scheme = SCHEMES.get(name) if colon else None
    if scheme is None and format == "lines":
        scheme = SCHEMES["lines"]
    if scheme is None:
        if _URL.match(source):
            raise UsageError(
                f"{source.split('://')[0]}:// addresses are not read", "Download the file, or use hf:ORG/NAME/FILE."
            )
        return _load_file
    refused = next((option for option in ("mapping", "limit") if option in options and option not in scheme.takes), "")
    if refused:
        raise UsageError(f"{source}: it takes no {refused}", f"Leave --{refused} out.")
    reader: Callable[..., Imported] = resolve(scheme.reader)
    return reader


def _load_file(source: str, *, limit: int | None = None, **options: Any) -> Imported:
    path = Path(source)
    if is_saved_folder(path):
        return load_folder(source, limit=limit, **options)
    return read_table(read_file(path), source, limit=limit, **options)


def read_source(
    source: str | Mapping[str, str],
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,
    licence: str = "",
    mapping: str | None = None,
    limit: int | None = None,
) -> Imported:
    """The items of one source, as ``load``, or of several by split, as ``load_splits``."""
    options: dict[str, Any] = {
        "columns": columns, "format": format, "licence": licence, "mapping": mapping, "limit": limit
    }  # fmt: skip
    if isinstance(source, str):
        return load(source, split=split, **options)
    return load_splits(source, **options)


def load_splits(
    sources: Mapping[str, str],
    *,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,
    licence: str = "",
    mapping: SavedMapping | str | None = None,
    limit: int | None = None,
) -> Imported:
    """Several sources in one import: ``sources`` maps a split to its source, in the order given.

    Raises ``UsageError`` where some give pairs and others questions, and all that ``load`` raises.
    """
    if not sources:
        raise UsageError("no source was given", "Name at least one: --split generate=FILE.")
    parts = {
        split: load(source, split=split, columns=columns, format=format, licence=licence, mapping=mapping, limit=limit)
        for split, source in sources.items()
    }
    if len(parts) == 1:
        return next(iter(parts.values()))
    kinds = {split: part.kind for split, part in parts.items()}
    if len(set(kinds.values())) > 1:
        described = ", ".join(f"{split} gives {kind}" for split, kind in kinds.items())
        raise UsageError(f"the sources are of different kinds: {described}", "Import them as two datasets.")
    pairs = [item for part in parts.values() for item in _pairs(part)]
    questions = [item for part in parts.values() for item in part.items if isinstance(item, QuestionItem)]
    licences = list(dict.fromkeys(part.licence for part in parts.values() if part.licence))
    return Imported(
        next(iter(kinds.values())),
        pairs or questions,
        _merged_source(sources, parts),
        "; ".join(licences),
        [f"{split}: {note}" for split, part in parts.items() for note in part.notes] + _between_splits(pairs, parts),
    )


def _pairs(imported: Imported) -> list[PairItem]:
    return [item for item in imported.items if isinstance(item, PairItem)]


def _between_splits(pairs: Sequence[PairItem], parts: Mapping[str, Imported]) -> list[str]:
    """What the pairs of several sources are together and no source is alone."""
    mixture = Mixture()
    for item in pairs:
        mixture.add(item.pair, item.split)
    said = {note for part in parts.values() for note in part.notes}
    return [note for note in mixture_notes(mixture) if note not in said]


def _merged_source(sources: Mapping[str, str], parts: Mapping[str, Imported]) -> Source:
    records = tuple(part.source for part in parts.values())
    merged = Source(
        uri=", ".join(f"{split}={readable(source)}" for split, source in sources.items()),
        format=", ".join(dict.fromkeys(record.format for record in records)),
        files=tuple(file for record in records for file in record.files),
        sources=records,
    )
    common = {
        name: getattr(records[0], name)
        for name in ("repo", "revision", "columns", "mapping", "limit")
        if all(getattr(record, name) == getattr(records[0], name) for record in records)
    }
    return replace(merged, **common)
