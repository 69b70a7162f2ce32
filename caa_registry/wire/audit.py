"""The audit and runs as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from caa_registry.wire.lineage import run_json

if TYPE_CHECKING:
    from caa_registry.registry.records import AuditCheck, AuditEvent, RunDetail


def event_json(event: AuditEvent) -> dict[str, Any]:
    """An event of the audit."""
    return {
        "id": event.id,
        "at": event.at.isoformat(),
        "actor": event.actor,
        "action": event.action,
        "subject": dict(event.subject),
        "previous": event.previous,
        "digest": event.digest,
    }


def check_json(check: AuditCheck) -> dict[str, Any]:
    """A chain that holds."""
    return asdict(check)


def detail_json(detail: RunDetail) -> dict[str, Any]:
    """A run with what it read and made, and how it belongs to a script's run."""
    inputs, outputs, used = (
        [{"kind": kind, "reference": reference} for kind, reference in things]
        for things in (detail.inputs, detail.outputs, detail.used)
    )
    own = {"inputs": inputs, "outputs": outputs}
    return {**run_json(detail.run), **own, "within": detail.within, "runs": list(detail.runs), "used": used}
