"""Files of strangers: none takes memory or time out of proportion to what it holds."""

from __future__ import annotations

from pathlib import Path

from support.hostile_sources import FILES, write
from support.limited import MOST_ABOVE, peaks


def test_no_file_takes_more_than_its_share_of_memory_and_time(tmp_path: Path) -> None:
    write(tmp_path)
    found = peaks("support.hostile_sources:report", str(tmp_path))
    assert found["outcomes"].keys() == FILES.keys()
    for name, outcome in found["outcomes"].items():
        assert outcome.startswith("refused"), (name, outcome)
    assert found["above"] < MOST_ABOVE
