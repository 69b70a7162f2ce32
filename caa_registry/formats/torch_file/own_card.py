"""The card that CAA Registry puts into torch files."""

from __future__ import annotations

from caa_registry.formats import card as cards
from caa_registry.formats.claims import Claims
from caa_registry.formats.text import object_of
from caa_registry.formats.torch_file.saved import Saved
from caa_registry.formats.torch_file.writer import CARD


def claims_in(found: Saved) -> tuple[Claims, list[int]] | None:
    """What the card claims and the layers that it lists; ``None`` where there is no card. Raises ``InputError``."""
    name = f"{found.root}/{CARD}"
    if name not in found.opened.entries:
        return None
    file = found.opened.file
    try:
        text = found.opened.read(name).decode("utf-8")
    except UnicodeDecodeError as error:
        raise file.error("it is not UTF-8", "The file is damaged.", field=CARD) from error
    layers = object_of(file, text, CARD).get("layers")
    if not isinstance(layers, list) or not all(type(layer) is int and 0 <= layer < 10_000 for layer in layers):
        raise file.error("its layers are no list of numbers", "The file is damaged.", field=CARD)
    return cards.claims_of(file, text, CARD), layers
