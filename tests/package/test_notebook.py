"""The notebook of the documents runs, and shows what it makes in small tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import caa_registry as caa

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "first-vector.ipynb"


def test_the_notebook_is_kept_without_outputs() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert [cell for cell in cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)] == []


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CAA_HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("PYTHONPATH", str(Path(caa.__file__).parents[1]))
    notebook: Any = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()

    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert {output.output_type for output in outputs} == {"execute_result", "display_data"}
    tables = [output.data["text/html"] for output in outputs if "<b>" in output.get("data", {}).get("text/html", "")]
    assert len(tables) >= 8 and all(len(table) < 4_000 for table in tables)
    bars = [output.data["text/plain"].split(":")[0] for output in outputs if output.output_type == "display_data"]
    assert bars[:2] == ["activations", "layers"] and "scores" in bars
    with caa.open(str(tmp_path / "first-vector.db"), read_only=True) as registry:
        best = registry.aliases.get("vector:first/agreeing:best")
        assert best is not None and best.recommendation is not None
        effect = registry.evaluations.ls()[-1].at(best.recommendation.layers[0], "effect")
        assert effect is not None and effect.ci_low is not None and effect.ci_low > 0.5
