"""AISteer360's ``.svec``: ``directions`` by 0-based block, each a list of rows ``[T, d_model]``; applied at that
block's output. More than one row means one a token position. Compared with its description only, not with a file of
its own.
"""

from __future__ import annotations

from caa_registry.formats import card as cards
from caa_registry.formats.card import Card
from caa_registry.formats.imported import ImportedVectors, imported
from caa_registry.formats.json_files import svec
from caa_registry.formats.vector_file import VectorFile
from caa_registry.vectors import VectorSet

NAME = "aisteer360"


def sniff(file: VectorFile) -> bool:
    """Whether its directions are lists of rows."""
    return svec.depth(file) == 2


def read(file: VectorFile) -> ImportedVectors:
    """The directions by layer. Raises ``InputError``."""
    values = svec.directions_of(file)
    by_position = any(each.numbers.ndim == 2 and len(each.numbers) > 1 for each in values.values())
    claims = svec.claims_of(file)
    result = imported(
        file,
        NAME,
        values,
        "directions.N is the output of 0-based block N",
        producer="CAA Registry" if claims.digests else "AISteer360",
        operation="add-by-position" if by_position else "add",
        claims=claims,
        untested=True,
    )
    cards.check_digest(file, result)
    return result


def write(vectors: VectorSet, card: Card) -> bytes:
    """A row a layer."""
    return svec.written(vectors, card, {str(each.layer): [each.values.tolist()] for each in vectors.layers}, {})
