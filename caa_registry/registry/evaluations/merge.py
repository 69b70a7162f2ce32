"""The evaluation whose shards were measured on several machines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from caa_registry.progress import silent
from caa_registry.registry.evaluations.open_ended import generate_answers, open_ended_request
from caa_registry.registry.evaluations.propensity.measurement import measure
from caa_registry.registry.evaluations.propensity.request import propensity_request
from caa_registry.registry.evaluations.sharing import Division, common_request
from caa_registry.registry.evaluations.side_effects import SideEffectsRequest, measure_side_effects, text_of_json
from caa_registry.registry.evaluations.target import Lookup
from caa_registry.registry.records import Evaluation, OpenEndedSettings, PropensitySettings
from caa_registry.registry.vectors.vectors import Vectors
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.models.model import Model


def merge(
    workspace: Workspace, lookup: Lookup, vectors: Vectors, paths: tuple[Path, ...], model: str | Path | Model | None
) -> Evaluation:
    """Look up what the shards in ``paths`` were asked for, and store what they measured together. ``model`` defaults to
    the one that they name."""
    asked = common_request(paths)
    named = asked["model"]
    loaded = model or lookup.models.load(
        named["name"], revision=named["revision"], dtype=named["dtype"], adapter=named.get("adapter")
    )
    settings, split, division = asked.get("settings", {}), asked.get("split", ""), Division(files=paths)
    on = lookup.target(vectors.get(asked["vector"]), loaded, asked["layers"], asked["multipliers"], allow_mismatch=True)
    if asked["kind"] == "side-effects":
        return measure_side_effects(workspace, SideEffectsRequest(on, text_of_json(asked["text"]), division), silent)
    data = lookup.with_split(asked["dataset"], split)
    if asked["kind"] == "open-ended":
        prompts = lookup.prompts(data, split)
        answered = open_ended_request(on, data, split, prompts, OpenEndedSettings(**settings), division)
        return generate_answers(workspace, answered, silent)
    questions = lookup.questions(data, split)
    scored = propensity_request(
        on, questions, lookup.own(on.version, questions), PropensitySettings(**settings), division
    )
    return measure(workspace, scored, silent, silent)
