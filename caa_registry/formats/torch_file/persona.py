"""persona_vectors: one tensor ``(n_layers + 1, d_model)``, a row an entry of Hugging Face's hidden states.

Row 0 is the embeddings and is left out. Row i is the output of 0-based block i-1, but for the last, which is taken
behind the final norm. A table of anything else has the same form: axbench's is told by its ``metadata.jsonl``.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from caa_registry.errors import UsageError
from caa_registry.formats import card as cards
from caa_registry.formats.card import Card
from caa_registry.formats.claims import Claims
from caa_registry.formats.imported import FINAL_NORM, ImportedVectors, imported
from caa_registry.formats.torch_file import axbench
from caa_registry.formats.torch_file.own_card import claims_in
from caa_registry.formats.torch_file.pickled import SavedTensor
from caa_registry.formats.torch_file.saved import Saved, content_of, saved
from caa_registry.formats.torch_file.writer import tensor_file
from caa_registry.formats.values import Values
from caa_registry.formats.vector_file import VectorFile
from caa_registry.vectors import VectorSet

NAME = "persona-vectors"
RULE = "row N is the output of 0-based block N-1; row 0, the embeddings, is left out"
_MOST_ROWS = 1025
_TRAIT = re.compile(r"(?P<trait>.+)_(?:prompt_avg|response_avg|prompt_last)_diff")


def sniff(file: VectorFile) -> bool:
    """Whether it is a torch file of one table, of as many rows as a model may have layers, and no table of axbench."""
    content = content_of(file)
    is_table = isinstance(content, SavedTensor) and len(content.shape) == 2 and 1 < content.shape[0] <= _MOST_ROWS
    return is_table and not axbench.has_concepts(file)


def read(file: VectorFile) -> ImportedVectors:
    """The rows from the second on. Raises ``InputError``, also for CAA's activations, a row of which is a question."""
    found = file.once(saved)
    tensor = found.content
    if not isinstance(tensor, SavedTensor) or len(tensor.shape) != 2 or not 1 < tensor.shape[0] <= _MOST_ROWS:
        raise file.error("it is no torch file of one table of layers", "Name a file that holds one such tensor.")
    if Path(file.name).name.startswith("activations_"):
        raise file.error(
            "by its name it holds CAA's activations, a row a question, and no vectors of layers",
            "Name a vector's file.",
        )
    table = found.values(tensor, "tensor")
    rows = {row - 1: Values(table.numbers[row], table.dtype, table.change) for row in range(1, len(table.numbers))}
    if (own := claims_in(found)) is not None:
        return _own(file, found, rows, *own)
    named = _TRAIT.fullmatch(Path(file.name).stem)
    top = len(rows) - 1
    claims = Claims(
        layers=len(rows), data=named["trait"] if named else "", model=Path(file.name).parent.name if named else ""
    )
    return imported(
        file,
        NAME,
        rows,
        RULE,
        producer="persona_vectors",
        derived_at={top: FINAL_NORM},
        top_is_final_norm=True,
        claims=claims,
        warnings=["Row 0 is the embeddings; it was left out."],
    )


def _own(file: VectorFile, found: Saved, rows: dict[int, Values], claims: Claims, layers: list[int]) -> ImportedVectors:
    missing = [layer for layer in layers if layer not in rows]
    if missing or not layers:
        raise file.error(f"the card lists the layers {layers[:50]}, and the table has {len(rows)}", "It was changed.")
    kept = {layer: rows[layer] for layer in layers}
    result = imported(file, NAME, kept, RULE, producer="CAA Registry", claims=claims)
    cards.check_digest(file, result)
    return result


def write(vectors: VectorSet, card: Card) -> bytes:
    """The table, with rows of zeros for the embeddings and for layers that the vector does not have. Raises
    ``UsageError`` for a layer that the model does not have."""
    last = vectors.layer_numbers[-1]
    n_layers = last + 1 if card.n_layers is None else card.n_layers
    if last >= min(n_layers, _MOST_ROWS - 1):
        raise UsageError(f"the model has {n_layers} blocks, and the vector has layer {last}", "Leave that layer out.")
    table = np.zeros((n_layers + 1, vectors.d_model), np.float32)
    for vector in vectors.layers:
        table[vector.layer + 1] = vector.values
    text = card.as_json(vectors.tensor_digest) | {"layers": vectors.layer_numbers}
    return tensor_file(table, cards.compact(text).decode())
