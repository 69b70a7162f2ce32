"""What calibrations of vectors came to, as their runs recorded it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among
from caa_registry.catalog.integrity.damage import damaged
from caa_registry.registry.records import CalibrationOutcome

CALIBRATED = "calibrated"
"""What a vector is to the run of its calibration."""


def outcomes(session: Session, vectors: Sequence[int]) -> dict[int, CalibrationOutcome]:
    """By id of each vector version that was calibrated, what the newest calibration came to. Those of releases that
    gave no verdict are left out."""
    calibrated = (
        select(t.RunIO.object_id, t.RunIO.run_id, t.Run)
        .outerjoin(t.Run, t.Run.id == t.RunIO.run_id)
        .where(
            t.RunIO.kind == "vector",
            t.RunIO.direction == "input",
            # The first runs with an outcome named no role.
            or_(t.RunIO.role == CALIBRATED, and_(t.RunIO.role == "", t.Run.kind == "calibrate")),
            among(session, t.RunIO.object_id, vectors),
        )
        .order_by(t.RunIO.run_id)
    )
    found = {}
    for vector, number, run in session.execute(calibrated):
        if run is None:
            raise damaged(f"run {number}", "a calibration was recorded as it, and it is missing")
        if "outcome" not in run.parameters:
            continue
        outcome = run.parameters["outcome"]
        cell = outcome["cell"] or {"layer": None, "multiplier": None}
        found[vector] = CalibrationOutcome(
            run.finished_at, outcome["reason"], cell["layer"], cell["multiplier"], outcome["evidence"]
        )
    return found
