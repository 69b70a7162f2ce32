"""docs/format.md describes the format of a registry: its reader, which imports nothing of the package, reads what the
package wrote."""

from __future__ import annotations

import json
import math
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from support.changed import change

import caa_registry as caa
from caa_registry.catalog.schema import head_revision

ROOT = Path(__file__).resolve().parents[2]

TEXT = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")


def read(path: Path, *, holds: bool = True) -> Any:
    """What the reader prints of a registry, in a Python that cannot see the package."""
    (program,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert "caa_registry as" not in program and "import caa" not in program
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) is holds, done.stderr
    return json.loads(done.stdout) if holds else done.stderr


def test_a_stranger_reads_what_was_written(whole: Path) -> None:
    found = read(whole)
    with caa.open(str(whole)) as registry:
        versions = [v for each in registry.datasets.ls() for v in registry.datasets.log(each.name)]
        assert len(found["datasets"]) == len(versions) == 3
        for reference, texts in found["datasets"].items():
            version = registry.datasets.get(reference)
            if version.kind == "pairs":
                assert texts == [item.pair.positive for item in registry.datasets.pairs(version)]
            else:
                assert texts == [item.text for item in registry.datasets.questions(version)]
        vectors = registry.vectors.ls(all_versions=True)
        assert set(found["vectors"]) == {version.reference for version in vectors}
        for version in vectors:
            stored = {str(v.layer): v.values for v in registry.vectors.load(version).layers}
            layers = found["vectors"][version.reference]
            assert layers.keys() == stored.keys()
            assert all(np.array_equal(np.array(layers[i], np.float32), stored[i]) for i in stored)
        evaluations = registry.evaluations.ls()
        assert {int(number) for number in found["evaluations"]} == {evaluation.id for evaluation in evaluations}
        for evaluation in evaluations:
            said = found["evaluations"][str(evaluation.id)]
            whole_evaluation = registry.evaluations.get(evaluation.id)
            assert said["scores"] == [
                [s.condition, s.layer, s.multiplier, s.metric, s.value, s.n] for s in whole_evaluation.scores
            ]
            if evaluation.measurements:
                measured = registry.evaluations.measurements(evaluation.id)
                assert said["items"]["layers"] == list(measured.layers)
                assert said["items"]["shape"] == list(measured.vector.log_p.shape)
                assert all(
                    math.isclose(a, b) or a == b
                    for a, b in zip(said["items"]["numbers"], measured.vector.log_p.ravel(), strict=True)
                )
        assert found["events"] == registry.audit.verify().events


def test_a_stranger_notices_what_was_changed(whole: Path, tmp_path: Path) -> None:
    for number, statement in enumerate(
        (
            "UPDATE pair SET positive = 'x' WHERE digest = (SELECT min(digest) FROM pair)",
            "UPDATE dataset_member SET split = 'test' WHERE position = 0",
            "UPDATE vector_version SET recipe = json_set(recipe, '$.pairs', 9)",
            "UPDATE event SET actor = 'x' WHERE id = 3",
        )
    ):
        copy = tmp_path / f"{number}.db"
        with closing(sqlite3.connect(whole)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        change(copy, statement)
        assert "AssertionError" in read(copy, holds=False)


def test_the_text_names_every_table_and_the_newest_schema(whole: Path) -> None:
    assert f"`{head_revision()}`" in TEXT
    with closing(sqlite3.connect(whole)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        # Those behind the table of the index belong to SQLite.
        if not table.startswith(("sqlite_", "search_index_")):
            assert re.search(rf"\b{table}\b", TEXT), table
