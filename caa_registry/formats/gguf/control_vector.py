"""Control vectors in GGUF: tensors ``direction.<N>``, of llama.cpp, repeng, EasySteer, dialz, saklas, jukofyork and
GLP.

``direction.N`` is added to the output of 0-based block N, by llama.cpp and by all the others. llama.cpp's own
generator measures one block earlier than it applies, which ``derived_at`` says. ``direction.0`` is no block of
llama.cpp's and makes it refuse the whole file; ``direction.13.1`` it adds to layer 13, so that GLP's further
directions are only read where ``glp.rank`` says so, and never written.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from caa_registry.formats import card as cards
from caa_registry.formats.card import Card
from caa_registry.formats.claims import Claims, Scale
from caa_registry.formats.gguf import glp as glp_keys
from caa_registry.formats.gguf.container import INT32, MAGIC, Container, Tensor, parsed
from caa_registry.formats.gguf.writer import written
from caa_registry.formats.imported import ImportedVectors, imported, statements
from caa_registry.formats.values import Values
from caa_registry.formats.vector_file import VectorFile
from caa_registry.vectors import VectorSet

NAME = "gguf"
RULE = "direction.N is added to the output of 0-based block N"
_TENSOR = re.compile(r"direction\.(0|[1-9][0-9]{0,3})(?:\.([1-9][0-9]{0,3}))?")
_ARCHITECTURES = ("controlvector", "steeringvector", "glp")
_CARD_KEY = f"{cards.KEY}.card"


def sniff(file: VectorFile) -> bool:
    """Whether it is GGUF with a tensor ``direction.``"""
    if not file.data.startswith(MAGIC):
        return False
    return any(tensor.name.startswith("direction.") for tensor in file.once(parsed).tensors)


def read(file: VectorFile) -> ImportedVectors:
    """The directions of a file, with what its keys say. Raises ``InputError``."""
    container = file.once(parsed)
    said = container.values
    architecture = said.get("general.architecture")
    if architecture not in _ARCHITECTURES:
        raise file.error(
            f"it is {str(architecture)[:80]!r}, and a control vector's is {', '.join(_ARCHITECTURES)}",
            "Name the file of a control vector.",
            field="general.architecture",
        )
    keys = glp_keys.glp(file, said)
    values = _by_layer(file, container.tensors, keys)
    glp_keys.check_layers(file, said, sorted(values))
    glp_keys.check_content(file, said, values)
    warnings = glp_keys.check_basis(file, values) if keys.mode == glp_keys.PROJECT else []
    if 0 in values:
        warnings.append("direction.0 is in the file: llama.cpp refuses all of it.")
    if len(keys.dir_scales) > 1:
        warnings.append(f"glp.dir_scales multiply the strength by direction: {said['glp.dir_scales'][:200]}.")
    producer, scale = _producer(container, architecture)
    derived_at = {}
    if producer == "llama.cpp cvector-generator":
        derived_at = {layer: f"output of block {layer - 1}" for layer in values}
        warnings.append("Each direction was measured one block before the one at which llama.cpp applies it.")
    elif keys.derived_at and keys.derived_at != said.get("glp.hook_point", ""):
        derived_at = dict.fromkeys(values, keys.derived_at)
        warnings.append(f"The directions were measured at {keys.derived_at[:80]!r}, not where they are applied.")
    result = imported(
        file,
        NAME,
        values,
        RULE,
        producer=producer,
        derived_at=derived_at,
        top_is_final_norm=producer in ("repeng or saklas", "dialz"),
        scale=scale,
        operation=keys.mode,
        strengths=keys.strengths(sorted(values)),
        claims=_claims(file, container),
        warnings=warnings,
    )
    if _CARD_KEY in said:
        cards.check_digest(file, result, _CARD_KEY)
    return result


def write(vectors: VectorSet, card: Card) -> bytes:
    """A control vector for llama.cpp, repeng and GLP's readers, mode ``add``. Raises ``UsageError`` for block 0."""
    return written(vectors, card)


def _by_layer(file: VectorFile, tensors: tuple[Tensor, ...], keys: glp_keys.Glp) -> dict[int, Values]:
    found: dict[int, dict[int, Values]] = {}
    for tensor in tensors:
        match = _TENSOR.fullmatch(tensor.name)
        if match is None:
            raise file.error(
                "a control vector's tensors are named direction.<number>", "llama.cpp refuses the file too.",
                field=tensor.name,
            )  # fmt: skip
        if match[2] is not None and keys.rank == 1:
            raise file.error(
                f"llama.cpp adds it to layer {match[1]}, and the file does not say what it is (glp.rank)",
                "Ask the author.",
                field=tensor.name,
            )
        found.setdefault(int(match[1]), {})[int(match[2] or 0)] = tensor.values(file)
    values = {}
    for layer, rows in found.items():
        if sorted(rows) != list(range(keys.rank)):
            raise file.error(
                f"glp.rank is {keys.rank}, and the layer has the directions {', '.join(map(str, sorted(rows)))[:100]}",
                "One of the two is wrong; ask the author.",
                field=f"direction.{layer}",
            )
        values[layer] = _stacked(file, layer, [rows[row] for row in sorted(rows)])
    return values


def _stacked(file: VectorFile, layer: int, rows: list[Values]) -> Values:
    if len(rows) == 1:
        return rows[0]
    if len({row.numbers.shape for row in rows}) != 1 or rows[0].numbers.ndim != 1:
        raise file.error("its directions have different shapes", "The file is damaged.", field=f"direction.{layer}")
    return Values(np.stack([row.numbers for row in rows]), rows[0].dtype, max(row.change for row in rows))


def _producer(container: Container, architecture: str) -> tuple[str, Scale]:
    said, count = container.values, container.values.get("controlvector.layer_count")
    if _CARD_KEY in said:
        return "CAA Registry", "raw"
    if any(key.startswith("glp.") for key in said):
        return str(said.get("glp.generator", "GLP"))[:200], "raw"
    if architecture == "steeringvector":
        return "dialz", "raw"
    if "controlvector.method" in said:
        return "EasySteer", "raw"
    if container.types.get("controlvector.layer_count") == INT32:
        return "llama.cpp cvector-generator", "raw"
    if count == len(container.tensors):
        return "repeng or saklas", "unknown"
    return ("jukofyork", "raw") if type(count) is int and count > len(container.tensors) else ("", "unknown")


def _claims(file: VectorFile, container: Container) -> Claims:
    said = container.values
    if isinstance(said.get(_CARD_KEY), str):
        return cards.claims_of(file, said[_CARD_KEY], _CARD_KEY)

    def first(*keys: str) -> str:
        return next((str(said[key])[:400] for key in keys if said.get(key)), "")

    rest: dict[str, Any] = {key: value for key, value in said.items() if not isinstance(value, list)}
    return Claims(
        model=first("general.base_model.0.repo_url", "glp.base_model", "general.base_model.0.name"),
        revision=first("general.base_model.0.version", "glp.base_revision"),
        model_type=first("controlvector.model_hint", "steeringvector.model_hint"),
        data=first("glp.contrast"),
        method=first("glp.method", "controlvector.method"),
        statements=statements(rest),
    )
