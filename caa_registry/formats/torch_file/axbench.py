"""axbench: ``<Method>_weight.pt`` is a table ``(n_concepts, d_model)``, and ``metadata.jsonl`` beside it names the
concepts.

Which row, and which layer, the file does not say: the user does. The strength is scaled by each concept's largest
activation, which is not in these files. Not compared with a file of axbench.
"""

from __future__ import annotations

from typing import Any

from caa_registry.formats.claims import Claims
from caa_registry.formats.imported import ImportedVectors, imported
from caa_registry.formats.layer_names import one_layer
from caa_registry.formats.text import object_of
from caa_registry.formats.torch_file.pickled import SavedTensor
from caa_registry.formats.torch_file.saved import content_of, saved
from caa_registry.formats.values import Values
from caa_registry.formats.vector_file import VectorFile

NAME = "axbench"
_LIST = "metadata.jsonl"


def has_concepts(file: VectorFile) -> bool:
    """Whether the file beside it lists concepts."""
    first = file.beside.get(_LIST, b"").lstrip().partition(b"\n")[0]
    return first.startswith(b"{") and b'"concept"' in first


def sniff(file: VectorFile) -> bool:
    """Whether it is a torch file of one table, beside a list of concepts."""
    content = content_of(file)
    return isinstance(content, SavedTensor) and len(content.shape) == 2 and has_concepts(file)


def read(file: VectorFile) -> ImportedVectors:
    """The row that the user names (``--row``), at the layer that the user names. Raises ``InputError``."""
    found = file.once(saved)
    tensor = found.content
    if not isinstance(tensor, SavedTensor) or len(tensor.shape) != 2:
        raise file.error("it is no torch file of one table", "Name a file such as DiffMean_weight.pt.")
    rows = tensor.shape[0]
    if file.row is None or file.row >= rows:
        said = "no row is named" if file.row is None else f"there is no row {file.row}"
        raise file.error(f"it holds {rows:,} concepts, and {said}", f"Name one: --row 0 to {rows - 1:,}.")
    table = found.values(tensor, "tensor")
    values = Values(table.numbers[file.row], table.dtype, table.change)
    concept = _concept(file, file.row)
    return imported(
        file,
        NAME,
        {one_layer(file): values},
        "the user says which 0-based block's output it is",
        producer="axbench",
        scale="unknown",
        claims=Claims(data=str(concept.get("concept", ""))[:400], method=file.stem.removesuffix("_weight")),
        untested=True,
        warnings=["axbench multiplies it by the concept's largest activation, which this file does not hold."],
    )


def _concept(file: VectorFile, row: int) -> dict[str, Any]:
    """The line of ``row`` in the list of concepts, which must give that number."""
    lines = file.beside.get(_LIST, b"").splitlines()
    if row >= len(lines):
        return {}
    said = object_of(VectorFile(_LIST, b""), lines[row], f"line {row + 1}")
    if type(said.get("concept_id")) is int and said["concept_id"] != row:
        raise file.error(f"{_LIST} gives row {row} the concept_id {said['concept_id']}", "One of the two is wrong.")
    return said
