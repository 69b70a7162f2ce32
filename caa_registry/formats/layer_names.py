"""Layers in names: of tensors in a file, and of files that hold one layer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from caa_registry.errors import one_line
from caa_registry.formats.vector_file import VectorFile

_NUMBER = "(0|[1-9][0-9]{0,3})"


@dataclass(frozen=True)
class Style:
    """A way to name the tensor of a layer. ``shift``: what is added to its number to get the block whose output is
    meant."""

    pattern: re.Pattern[str]
    rule: str
    shift: int = 0


_AFTER = "{} is the output of 0-based block N"
STYLES = [
    *(
        Style(re.compile(f"{re.escape(prefix)}{_NUMBER}{re.escape(ending)}"), _AFTER.format(f"{prefix}N{ending}"))
        for prefix, ending in (
            ("layer.", ""), ("layer_", ""), ("", ""), ("layers.", ""), ("model.layers.", ""),
            ("blocks.", ".hook_resid_post"),
        )
    ),
    Style(
        re.compile(rf"blocks\.{_NUMBER}\.hook_resid_pre"),
        "blocks.N.hook_resid_pre is the input of 0-based block N: the output of block N-1",
        -1,
    ),
]  # fmt: skip


def style_of(names: Iterable[str]) -> Style | None:
    """The style that all ``names`` have, of at least one name."""
    listed = list(names)
    return next((style for style in STYLES if listed and all(style.pattern.fullmatch(name) for name in listed)), None)


def by_layer(file: VectorFile, names: Iterable[str], style: Style) -> dict[int, str]:
    """``names`` of ``style`` by the block whose output they are. Raises ``InputError`` for one before the first."""
    found = {}
    for name in names:
        match = style.pattern.fullmatch(name)
        layer = int(match[1]) + style.shift if match else -1
        if layer < 0:
            raise file.error(
                "it is the input of the first block, the embeddings, and no block's output",
                "Leave it out of the file.",
                field=name,
            )
        found[layer] = name
    return found


_IN_FILE_NAME = re.compile(r"(?:^|[_.-])(?:vec_)?layer[_=-]?([0-9]{1,4})(?=$|[_.-])", re.IGNORECASE)


def layer_in_file_name(name: str) -> int | None:
    """The layer that a file's name gives, such as ``vec_layer_13_Llama-2-7b-chat-hf.pt`` or ``layer_13.pt``."""
    match = _IN_FILE_NAME.search(Path(name).stem)
    return int(match[1]) if match else None


def one_layer(file: VectorFile, stated: int | None = None, where: str = "") -> int:
    """The layer of a file that holds one vector: what the file states (in its field ``where``), else what its name or
    the user says. Raises ``InputError`` where nobody says, and, with both, where two disagree."""
    said = {where: stated, "the name of the file": layer_in_file_name(file.name), "--layer": file.layer}
    given = {who: layer for who, layer in said.items() if layer is not None}
    if not given:
        raise file.error(
            f"the file does not say which layer its vector is of, and its name {one_line(Path(file.name).name, 80)!r} "
            "does not either",
            "Say so: --layer, the 0-based block whose output the vector is added to.",
        )
    if len(set(given.values())) > 1:
        both = " and ".join(f"{who} says layer {layer}" for who, layer in given.items())
        raise file.error(both, "Correct the one that is wrong.")
    return next(iter(given.values()))
