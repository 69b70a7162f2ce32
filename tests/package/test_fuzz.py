"""A few of the inputs of ``scripts/check_fuzz.py``; the script tries thousands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check_fuzz.py"


def test_mutated_inputs_are_read_or_refused_in_words() -> None:
    command = [sys.executable, str(SCRIPT), "--count", "900", "--seed", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(done.stdout)
    assert all(outcomes["failed"] == 0 for outcomes in figures.values())
    # Where nothing is read any more, or nothing refused, mutations say little.
    read, refused = (sum(outcomes[what] for outcomes in figures.values()) for what in ("read", "refused"))
    assert read > 90 and refused > 90
