"""What looking after a registry found, as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caa_registry.registry.records import FsckReport


def fsck_json(report: FsckReport) -> dict[str, Any]:
    """What was checked and found."""
    return {
        "holds": not report.damage,
        "checked": dict(report.checked),
        "findings": [asdict(finding) for finding in report.findings],
    }
