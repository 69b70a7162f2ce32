"""Vectors whose pairs an earlier revision rendered otherwise: they stay applicable, and what differs is named."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from caa_registry.errors import CaaError
from caa_registry.registry.vectors.store import Making, made_from

if TYPE_CHECKING:
    from caa_registry.models.model import Model
    from caa_registry.registry.records import Recipe, VectorVersion

# What of a recipe says how its pairs were rendered.
_RENDERING = {"template_digest", "rendering"}
_log = logging.getLogger(__name__)


def warn_of_rendering(version: VectorVersion, model: Model) -> None:
    """Say how the texts of ``version``, which has this model's template, were rendered otherwise than they are now."""
    recipe, own = version.recipe, version.model
    if recipe is None or own is None:
        return
    if recipe.template != "chat" or own.fingerprint.chat_template != model.info.fingerprint.chat_template:
        return
    try:
        template = model.template("chat")
        now = [template.rendering(system=system) for system in (False, True)]
    except CaaError as error:
        _log.warning("%s was computed with a template that is refused now: %s", version.reference, error.message)
        return
    if recipe.template_digest not in {rendering.digest for rendering in now}:
        _log.warning(
            "%s was computed by an earlier version, which rendered its texts differently. What has changed: %s.",
            version.reference,
            "; ".join(now[0].differences),
        )


def warn_of_earlier(session: Session, name: str, making: Making, recipe_now: Recipe) -> None:
    """Say what differs where ``name`` has a version made from the same, whose texts were rendered otherwise."""
    recipe = recipe_now.to_json()
    kept = {key: value for key, value in recipe.items() if key not in _RENDERING}
    for row in session.scalars(made_from(name, making)):
        if {key: value for key, value in (row.recipe or {}).items() if key not in _RENDERING} == kept:
            _log.warning(
                "%s:v%d has this recipe, but an earlier version rendered its texts differently. What has changed: %s.",
                name,
                row.number,
                "; ".join(recipe_now.rendering),
            )
            return
