"""A few of the damaged files of ``scripts/check_formats.py``, compared with the readers that are here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check_formats.py"


def test_damaged_vector_files_are_refused_or_read_as_others_read_them() -> None:
    command = [sys.executable, str(SCRIPT), "--count", "40", "--seed", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(done.stdout)
    assert figures.pop("memory_rise") < 300_000_000
    assert len(figures) >= 15 and all(outcomes["failed"] == 0 for outcomes in figures.values())
    # Where nothing is read any more, or nothing refused, damages say little.
    for layout, outcomes in figures.items():
        assert outcomes["refused"] > 10, layout
    assert sum(outcomes["alike"] for outcomes in figures.values()) > 30
