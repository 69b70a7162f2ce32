"""steering-vectors: its object ``SteeringVector`` saved by torch, or a dict of tensors by layer.

The object's ``layer_activations`` are by 0-based block; of its layer types, only ``decoder_block`` is a block's output.
Dicts whose keys name layers in another way (``layer_13``, ``blocks.13.hook_resid_post``) are read too.
"""

from __future__ import annotations

from typing import Any

from caa_registry.errors import one_line
from caa_registry.formats.imported import ImportedVectors, imported
from caa_registry.formats.layer_names import by_layer, style_of
from caa_registry.formats.torch_file.pickled import SavedObject, SavedTensor
from caa_registry.formats.torch_file.saved import content_of, saved
from caa_registry.formats.vector_file import VectorFile

NAME = "steering-vectors"
_BLOCK = "decoder_block"


def sniff(file: VectorFile) -> bool:
    """Whether it is a torch file of the object, or of a dict of tensors whose keys name layers."""
    content = content_of(file)
    return isinstance(content, SavedObject) or _is_by_layer(content)


def read(file: VectorFile) -> ImportedVectors:
    """The vectors of the object or the dict. Raises ``InputError``."""
    found = file.once(saved)
    content, producer = found.content, ""
    if isinstance(content, SavedObject):
        producer, kind = "steering-vectors", content.attributes.get("layer_type", _BLOCK)
        if kind != _BLOCK:
            raise file.error(
                f"its vectors are of {one_line(str(kind), 60)!r}, and only a block's output can be steered here",
                "Train it on decoder_block.",
                field="layer_type",
            )
        content = content.attributes.get("layer_activations")
    if not _is_by_layer(content):
        raise file.error("it is no dict of tensors by layer", "Name a file of vectors by layer.")
    names = {str(key): key for key in content}
    style = style_of(names)
    if style is None or len(names) != len(content):
        raise file.error("its keys name a layer twice", "The file is damaged.")
    values = {
        layer: found.values(content[names[name]], f"layer {name}")
        for layer, name in by_layer(file, names, style).items()
    }
    return imported(file, NAME, values, style.rule, producer=producer)


def _is_by_layer(content: Any) -> bool:
    if not isinstance(content, dict) or not all(isinstance(tensor, SavedTensor) for tensor in content.values()):
        return False
    return style_of(str(key) for key in content) is not None
