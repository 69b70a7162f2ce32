"""What looking after a registry found, as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caa_registry.registry.provenance.recalls import Downstream
    from caa_registry.registry.records import Backup, Collected, FsckReport, Repaired


def fsck_json(report: FsckReport, repaired: Repaired | None = None) -> dict[str, Any]:
    """What was checked and found, and what was done about it."""
    return {
        "repaired": asdict(repaired) if repaired else None,
        "holds": not report.damage,
        "checked": dict(report.checked),
        "faults": [asdict(fault) for fault in report.faults],
    }


def backup_json(backup: Backup) -> dict[str, Any]:
    """A copy of the registry."""
    return {**asdict(backup), "path": str(backup.path), "removed": [str(path) for path in backup.removed]}


def quarantine_json(downstream: Downstream, *, lifted: bool) -> dict[str, Any]:
    """What was quarantined, and what with it."""
    return {
        "quarantined": downstream.what,
        "vectors": list(downstream.vectors),
        "evaluations": list(downstream.evaluations),
        "lifted": lifted,
    }


def collected_json(collected: Collected) -> dict[str, Any]:
    """What was removed, or would be."""
    return asdict(collected)
