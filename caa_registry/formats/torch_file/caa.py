"""CAA's vectors: a file a layer, ``vec_layer_<L>_<model>.pt``, that is one tensor. EasyEdit2 writes ``layer_<L>.pt``
alike.

Layer L is the output of 0-based block L. Only the name says which layer it is; what the name says is a claim.
"""

from __future__ import annotations

import re
from pathlib import Path

from caa_registry.formats import card as cards
from caa_registry.formats.card import Card
from caa_registry.formats.claims import Claims, Scale
from caa_registry.formats.imported import ImportedVectors, imported
from caa_registry.formats.layer_names import one_layer
from caa_registry.formats.torch_file.own_card import claims_in
from caa_registry.formats.torch_file.pickled import SavedTensor
from caa_registry.formats.torch_file.saved import content_of, saved
from caa_registry.formats.torch_file.writer import tensor_file
from caa_registry.formats.vector_file import VectorFile
from caa_registry.vectors import VectorSet

NAME = "caa"
_NAMED = re.compile(r"vec_layer_[0-9]+(?:_(?P<model>.+))?")
_NORMALIZED = "normalized_vectors"


def sniff(file: VectorFile) -> bool:
    """Whether it is a torch file of one tensor of one dimension at most, or of one row."""
    content = content_of(file)
    return isinstance(content, SavedTensor) and (len(content.shape) < 2 or content.shape[:-1] == (1,))


def read(file: VectorFile) -> ImportedVectors:
    """The vector of a file, whose layer the file's name or the user says. Raises ``InputError``."""
    found = file.once(saved)
    if not isinstance(found.content, SavedTensor) or not sniff(file):
        raise file.error("it is no torch file of one vector", "Name a file that holds one tensor.")
    values = found.values(found.content, "tensor")
    own = claims_in(found)
    if own is not None:
        claims, layers = own
        layer = one_layer(file, layers[0] if len(layers) == 1 else None, "the card in the file")
        result = imported(
            file, NAME, {layer: values}, "the card in the file gives the 0-based block whose output it is",
            producer="CAA Registry", claims=claims,
        )  # fmt: skip
        cards.check_digest(file, result)
        return result
    path = Path(file.name)
    named = _NAMED.fullmatch(path.stem)
    scale: Scale = "shared-norm" if _NORMALIZED in path.parts else "raw"
    claims = Claims()
    if named:
        claims = Claims(model=named["model"] or "", data=path.parent.name, method="mean difference")
    return imported(
        file,
        NAME,
        {one_layer(file): values},
        "the number in the file's name, or what the user says, is the 0-based block whose output it is",
        producer="CAA" if named else "",
        scale=scale,
        claims=claims,
    )


def write(vectors: VectorSet, card: Card) -> bytes:
    """One tensor ``(d_model,)``, and the card with its layer."""
    text = card.as_json(vectors.tensor_digest) | {"layers": vectors.layer_numbers}
    return tensor_file(vectors.layers[0].values, cards.compact(text).decode())


def file_name(layer: int, card: Card) -> str:
    """As CAA names it: with the last part of the model's name."""
    model = re.sub(r"[^A-Za-z0-9._-]", "-", card.model.rpartition("/")[2])[:100]
    return f"vec_layer_{layer}_{model}.pt" if model else f"vec_layer_{layer}.pt"
