"""Vectors whose pairs an earlier revision rendered otherwise: they stay applicable, and what differs is named."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from caa_registry.errors import CaaError
from caa_registry.registry.vectors.store import Origin, of_origin

if TYPE_CHECKING:
    from caa_registry.models.model import Model
    from caa_registry.registry.records import VectorVersion

# What of a recipe says how its pairs were rendered.
_RENDERING = {"template_digest", "rendering"}
_log = logging.getLogger(__name__)


def warn_of_rendering(version: VectorVersion, model: Model) -> None:
    """Say how the texts of ``version``, which has this model's template, were rendered otherwise than they are now."""
    recipe = version.recipe
    if recipe.template != "chat" or version.model.fingerprint.chat_template != model.info.fingerprint.chat_template:
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


def warn_of_earlier(session: Session, name: str, origin: Origin) -> None:
    """Say what differs where ``name`` has a version of the same origin, whose texts were rendered otherwise."""
    recipe = origin.recipe.to_json()
    kept = {key: value for key, value in recipe.items() if key not in _RENDERING}
    for row in session.scalars(of_origin(name, origin)):
        if {key: value for key, value in row.recipe.items() if key not in _RENDERING} == kept:
            _log.warning(
                "%s:v%d has this recipe, but an earlier version rendered its texts differently. What has changed: %s.",
                name,
                row.number,
                "; ".join(origin.recipe.rendering),
            )
            return
