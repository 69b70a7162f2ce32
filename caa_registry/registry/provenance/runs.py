"""Recorded activities: every arrow between pairs, vectors and scores is one."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.events import append_event
from caa_registry.errors import UsageError

_PACKAGES = (
    "caa-registry",
    "mlx",
    "mlx-cpu",
    "mlx-metal",
    "mlx-cuda-12",
    "mlx-lm",
    "transformers",
    "tokenizers",
    "numpy",
)


@dataclass(frozen=True)
class Activity:
    """A run under way: what it does, for whom, and since when."""

    kind: str
    actor: str
    parameters: Mapping[str, Any]
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))


def record_run(
    session: Session,
    activity: Activity,
    *,
    inputs: Sequence[tuple[str, int]] = (),
    outputs: Sequence[tuple[str, int]] = (),
    subject: Mapping[str, Any],
    roles: Mapping[tuple[str, int], str] = {},
) -> int:
    """Write the run, its inputs and outputs as (kind, id), and the audit event, in the caller's transaction. ``roles``:
    what an object is to the run, for those who look for its runs of that sort.

    Raises ``UsageError`` where something was made of what somebody has deleted meanwhile.
    """
    if outputs:
        _check_present(session, inputs)
    run = t.Run(
        kind=activity.kind,
        parameters=dict(activity.parameters),
        environment=environment(),
        actor=activity.actor,
        started_at=activity.started_at,
        finished_at=datetime.now(UTC),
    )
    session.add(run)
    session.flush()
    for direction, things in (("input", inputs), ("output", outputs)):
        session.add_all(
            t.RunIO(run_id=run.id, direction=direction, kind=kind, object_id=i, role=roles.get((kind, i), ""))
            for kind, i in things
        )
    append_event(session, activity.actor, activity.kind, {"run": run.id, **subject})
    return run.id


def _check_present(session: Session, things: Sequence[tuple[str, int]]) -> None:
    tables: Mapping[str, Any] = {"dataset": t.DatasetVersion, "vector": t.VectorVersion, "evaluation": t.Evaluation}
    for kind in sorted({kind for kind, _ in things} & tables.keys()):
        table = tables[kind]
        ids = [id for of, id in things if of == kind]
        if session.scalar(select(table.id).where(table.id.in_(ids), table.deleted_at.is_not(None)).limit(1)):
            raise UsageError(
                f"a {kind} that this was made from was deleted meanwhile",
                "Nothing was stored. caa log shows who deleted it; caa undelete brings it back.",
            )


def environment() -> dict[str, Any]:
    """Where a run ran: platform, Python, package versions, and the device if MLX is loaded. No paths, no user data."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    facts: dict[str, Any] = {
        "platform": platform.system(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "packages": versions,
    }
    if "caa_registry.mx" in sys.modules:
        from caa_registry import blas
        from caa_registry.mx import mx

        facts["device"] = "gpu" if mx.default_device() == mx.Device(mx.gpu) else "cpu"
        # Results depend on the library, its kernels and its threads in the last digits.
        used = blas.status()
        if used.library is None:
            facts["blas"] = {"library": "MLX's own"}
        else:
            library = {"library": used.library, "version": used.version, "kernel": used.kernel}
            facts["blas"] = {**library, "threads": blas.threads()}
    return facts
