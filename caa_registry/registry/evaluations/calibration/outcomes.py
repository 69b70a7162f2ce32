"""What calibrations of vectors came to, as their runs recorded it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among
from caa_registry.registry.records import CalibrationOutcome


def outcomes(session: Session, vectors: Sequence[int]) -> dict[int, CalibrationOutcome]:
    """By id of each vector version that was calibrated, what the newest calibration came to. Those of releases that
    gave no verdict are left out."""
    calibrated = (
        select(t.RunIO.object_id, t.Run.finished_at, t.Run.parameters)
        .join(t.Run, t.Run.id == t.RunIO.run_id)
        .where(
            t.Run.kind == "calibrate",
            t.RunIO.kind == "vector",
            t.RunIO.direction == "input",
            among(session, t.RunIO.object_id, vectors),
        )
        .order_by(t.Run.id)
    )
    found = {}
    for vector, at, parameters in session.execute(calibrated):
        if "outcome" in parameters:
            outcome = parameters["outcome"]
            cell = outcome["cell"] or {"layer": None, "multiplier": None}
            found[vector] = CalibrationOutcome(
                at, outcome["reason"], cell["layer"], cell["multiplier"], outcome["evidence"]
            )
    return found
