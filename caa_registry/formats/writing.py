"""Vectors written in the layouts of other tools: whole or not at all, never over something by accident."""

from __future__ import annotations

from pathlib import Path

from caa_registry import disk
from caa_registry.errors import UsageError
from caa_registry.formats.card import Card
from caa_registry.formats.format import FORMATS
from caa_registry.vectors import VectorSet


def write_vectors(
    vectors: VectorSet, path: Path, card: Card, *, format: str | None = None, force: bool = False
) -> list[Path]:
    """Write ``vectors`` to ``path`` and give the files written.

    ``format``: a name in ``FORMATS``, else that of the only one written with the suffix of ``path``. Where a file holds
    one layer and there are several, or ``path`` is a folder, a file a layer is written in the folder ``path``, named as
    the format's producer does. Raises ``UsageError`` for what the format cannot hold, a file that exists (without
    ``force``) or a missing folder, before anything is written; ``WriteError``.
    """
    chosen = FORMATS.named(format if format is not None else _by_suffix(path))
    if not (chosen.one_layer and (len(vectors.layers) > 1 or path.is_dir())):
        data = chosen.write(vectors, card)
        disk.write_new(path, data, force=force)
        return [path]
    disk.check_parent(path)
    if not path.is_dir() and path.exists():
        raise UsageError(
            f"{path} is a file, and {chosen.name!r} holds one layer a file", "Name a folder, or export one layer."
        )
    written = {
        path / chosen.file_name(vector.layer, card): chosen.write(VectorSet.of([vector]), card)
        for vector in vectors.layers
    }
    with disk.explained(path):
        path.mkdir(exist_ok=True)
        for place in written:
            disk.check_new(place, force=force)
    for place, data in written.items():
        disk.write_new(place, data, force=force)
    return list(written)


def _by_suffix(path: Path) -> str:
    written = [name for name, format in FORMATS.items() if format.writes and path.suffix.lower() in format.suffixes]
    if len(written) != 1:
        names = ", ".join(written or (name for name, format in FORMATS.items() if format.writes))
        raise UsageError(f"the name {path.name!r} does not tell one format", f"Say which one: --format {names}.")
    return written[0]
