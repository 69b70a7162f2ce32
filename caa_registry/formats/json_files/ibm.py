"""IBM activation-steering's ``.svec``: ``directions`` by block, each one list.

The direction of index N is measured at the output of block N and applied at its input: to do what IBM does, layer N-1
is steered. Index 0 is applied to the embeddings, which cannot be steered here, and is left out. The same index means
another layer in an AISteer360 file. Compared with its description only, not with a file of its own.
"""

from __future__ import annotations

from dataclasses import replace

from caa_registry.formats import card as cards
from caa_registry.formats.card import Card
from caa_registry.formats.imported import FINAL_NORM, ImportedVectors, imported
from caa_registry.formats.json_files import svec
from caa_registry.formats.vector_file import VectorFile
from caa_registry.vectors import VectorSet

NAME = "ibm"
RULE = "directions.N is applied at the input of 0-based block N: the output of block N-1"


def sniff(file: VectorFile) -> bool:
    """Whether its directions are lists of numbers."""
    return svec.depth(file) == 1


def read(file: VectorFile) -> ImportedVectors:
    """The directions from index 1 on. Raises ``InputError``, also where there is no other than 0."""
    found = svec.directions_of(file)
    claims = svec.claims_of(file)
    values = {index - 1: each for index, each in found.items() if index}
    if not values:
        raise file.error("it is applied to the embeddings, which cannot be steered here", field="directions.0")
    warnings = ["directions.0 is applied to the embeddings; it was left out."] if 0 in found else []
    if claims.digests:
        result = imported(
            file, NAME, values, RULE, producer="CAA Registry", claims=claims, untested=True, warnings=warnings
        )
        cards.check_digest(file, result)
        return result
    derived_at = {layer: f"output of block {layer + 1}" for layer in values}
    warnings.append("Each direction was measured one block behind the place where IBM's code applies it.")
    if sorted(found) == list(range(len(found))):
        top = max(values)
        derived_at[top] = FINAL_NORM
        claims = replace(claims, layers=len(found))
        warnings.append(f"directions.{top + 1}, the last, was measured behind the final norm.")
    return imported(
        file,
        NAME,
        values,
        RULE,
        producer="IBM activation-steering",
        derived_at=derived_at,
        claims=claims,
        untested=True,
        warnings=warnings,
    )


def write(vectors: VectorSet, card: Card) -> bytes:
    """Layer L under the index L+1, so that IBM's code steers the output of block L. Its loader needs
    ``explained_variances``, of which none are known."""
    directions = {str(each.layer + 1): each.values.tolist() for each in vectors.layers}
    return svec.written(vectors, card, directions, {"explained_variances": {}})
