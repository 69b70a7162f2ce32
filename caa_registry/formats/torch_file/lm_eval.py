"""lm-evaluation-harness, steered models: a dict ``{hookpoint: {"action", "steering_coefficient", "steering_vector"}}``.

The hookpoint ``layers.3`` is the output of 0-based block 3. ``add`` and ``clamp`` are read, and no bias. Not compared
with a file of the harness.
"""

from __future__ import annotations

import math
from typing import Any

from caa_registry.errors import one_line
from caa_registry.formats.imported import ImportedVectors, imported
from caa_registry.formats.layer_names import by_layer, style_of
from caa_registry.formats.torch_file.pickled import SavedTensor
from caa_registry.formats.torch_file.saved import content_of, saved
from caa_registry.formats.vector_file import VectorFile

NAME = "lm-eval"
_VECTOR, _ACTION, _STRENGTH = "steering_vector", "action", "steering_coefficient"


def sniff(file: VectorFile) -> bool:
    """Whether it is a torch file of such a dict."""
    return _is_steered(content_of(file))


def read(file: VectorFile) -> ImportedVectors:
    """The vectors by hookpoint. Raises ``InputError`` for one that is no block, several actions, a bias or a head."""
    found = file.once(saved)
    content = found.content
    if not _is_steered(content):
        raise file.error("it is no dict of steered hookpoints", "Name a file of lm-evaluation-harness.")
    style = style_of(content)
    if style is None:
        names = one_line(", ".join(list(content)[:5]), 200)
        raise file.error(f"its hookpoints are {names}, and only blocks (layers.N) can be steered here")
    layers = by_layer(file, content, style)
    for name in content:
        for key in ("bias", "head_index"):
            if content[name].get(key) is not None:
                raise file.error(f"it has a {key}, which a steering vector has not", "Leave it out.", field=name)
    actions = {str(entry.get(_ACTION)) for entry in content.values()}
    if len(actions) != 1 or not actions <= {"add", "clamp"}:
        raise file.error(f"its actions are {one_line(', '.join(sorted(actions)), 100)}; one of add or clamp is read")
    strengths = {}
    for layer, name in layers.items():
        strength = content[name].get(_STRENGTH, 1.0)
        if type(strength) not in (int, float) or not math.isfinite(strength):
            raise file.error("its coefficient is no number", "Correct the file.", field=name)
        strengths[layer] = float(strength)
    values = {layer: found.values(content[name][_VECTOR], name) for layer, name in layers.items()}
    warnings = ["A version of the harness gives all layers the last layer's vector; use one layer."]
    return imported(
        file,
        NAME,
        values,
        "layers.N is the output of 0-based block N",
        producer="lm-evaluation-harness",
        operation=next(iter(actions)),
        strengths=strengths,
        untested=True,
        warnings=warnings if len(values) > 1 else [],
    )


def _is_steered(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and bool(content)
        and all(
            isinstance(name, str) and isinstance(entry, dict) and isinstance(entry.get(_VECTOR), SavedTensor)
            for name, entry in content.items()
        )
    )
