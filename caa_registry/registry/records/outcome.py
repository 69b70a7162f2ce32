"""What calibrations came to, whether they recommend something or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from caa_registry.display.records import Record


@dataclass(frozen=True)
class CalibrationOutcome(Record):
    """What the newest calibration of a vector came to.

    ``layer`` and ``multiplier``: the cell that was chosen; ``evidence``: of it, as a recommendation has it. All three
    are ``None`` where no cell qualified. ``reason``: why nothing is recommended; empty where something is.
    """

    at: datetime
    reason: str
    layer: int | None
    multiplier: float | None
    evidence: Mapping[str, Any] | None

    @property
    def summary(self) -> str:
        """``passed``, ``accepted: CONDITIONS`` where some were waived, ``failed: CONDITIONS``, or ``nothing found``."""
        if self.evidence is None:
            return "nothing found"
        conditions = self.evidence["verdict"]
        failed = [each["name"] for each in conditions if not each["met"] and not each["accepted"]]
        if failed:
            return f"failed: {', '.join(failed)}"
        accepted = [each["name"] for each in conditions if each["accepted"]]
        return f"accepted: {', '.join(accepted)}" if accepted else "passed"
