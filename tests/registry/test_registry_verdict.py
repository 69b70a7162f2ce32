"""Calibration sets an alias where the evidence holds, and nowhere else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from registry.registry_support import check_consistent

from caa_registry.errors import UsageError
from caa_registry.models.model import Model
from caa_registry.registry.records import CalibrationSettings, PropensitySettings, Recommendation, VectorVersion
from caa_registry.registry.registry import Registry

ASKED = CalibrationSettings(text="demo", coherence=0)


@pytest.fixture
def sycophancy(registry: Registry, demo: Model) -> VectorVersion:
    data = registry.datasets.import_("seed:demo-sycophancy-ab", name="team/ab")
    return registry.vectors.compute("team/ab", dataset=data, model=demo)


def test_a_layer_that_moves_the_letter_only_is_not_recommended(
    registry: Registry, demo: Model, sycophancy: VectorVersion
) -> None:
    made = registry.evaluations.calibrate(sycophancy, model=demo, layers=[3], multipliers=[-1, 1], settings=ASKED)
    assert made.alias is None and registry.aliases.get("vector:team/ab:best") is None
    failed = [condition.name for condition in made.verdict.failed] if made.verdict else [made.calibration.reason]
    (row,) = registry.evaluations.leaderboard()
    assert row.verdict == (f"failed: {', '.join(failed)}" if made.verdict else "nothing found")
    found = registry.evaluations.propensity(
        sycophancy, model=demo, layers=[1, 3], settings=PropensitySettings(controls=(), orders="both")
    )
    assert [found.is_letter_vector(layer) for layer in (1, 3)] == [False, True]
    # Every question is asked twice, and the two are one cluster.
    observed = registry.evaluations.measurements(found.id).vector
    assert found.n == 80 and len(set(observed.clusters)) == 40 and observed.rows[:4] == (0, 0, 1, 1)
    assert sorted(observed.letters[:2]) == ["A", "B"]


def test_a_layer_that_works_is_recommended_with_its_evidence(
    registry: Registry, demo: Model, sycophancy: VectorVersion, caplog: pytest.LogCaptureFixture
) -> None:
    ask: dict[str, Any] = {"model": demo, "layers": [2], "multipliers": [0.25, 0.5, 6]}
    made = registry.evaluations.calibrate(sycophancy, **ask, settings=ASKED)
    assert made.alias is not None and made.verdict is not None and made.verdict.passed
    assert made.alias.recommendation is not None and made.alias.recommendation.evidence is not None
    assert [c["name"] for c in made.alias.recommendation.evidence["verdict"]] == [
        c.name for c in made.verdict.conditions
    ]
    # Nobody replaces it by accident; another calibration does.
    with pytest.raises(UsageError, match="was set by a calibration"):
        registry.aliases.set("vector:team/ab", "best", Recommendation((1,), 1.0))
    registry.evaluations.calibrate(sycophancy, **ask, settings=ASKED)
    with registry.steer(demo, "team/ab:best"):
        pass
    assert "calibrated" not in caplog.text
    registry.aliases.set("vector:team/ab", "best", Recommendation((1,), 1.0), replace=True)
    check_consistent(registry)


@pytest.mark.long
def test_what_fails_sets_nothing_and_what_is_accepted_is_said(
    registry: Registry, demo: Model, sycophancy: VectorVersion, caplog: pytest.LogCaptureFixture
) -> None:
    """The vector's own pairs as questions: they leak, and all else holds."""
    ask: dict[str, Any] = {"model": demo, "split": "generate", "layers": [2], "multipliers": [0.25, 0.5, 6]}
    made = registry.evaluations.calibrate(sycophancy, **ask, settings=ASKED)
    assert made.alias is None and made.verdict is not None
    assert [condition.name for condition in made.verdict.failed] == ["leaks"]
    made = registry.evaluations.calibrate(sycophancy, **ask, settings=replace(ASKED, accept=["leaks"]))
    assert made.alias is not None
    with registry.steer(demo, "team/ab:best"):
        pass
    assert "its calibration accepted what does not hold: leaks" in caplog.text


def test_a_best_multiplier_at_the_end_extends_the_grid(
    registry: Registry, demo: Model, sycophancy: VectorVersion
) -> None:
    made = registry.evaluations.calibrate(sycophancy, model=demo, layers=[2], multipliers=[0.1], settings=ASKED)
    choice = made.calibration.choice
    assert choice is not None and choice.multiplier > 0.1
    assert next(e.settings.multipliers for e in made.extended if e.kind == "propensity") == (0.0, pytest.approx(0.15))
    assert made.verdict is not None
    grid = next(condition for condition in made.verdict.conditions if condition.name == "grid")
    # After three steps the last multiplier is still the best.
    assert choice.multiplier == pytest.approx(0.1 * 1.5**3) and not grid.met


def test_an_alias_from_before_verdicts_is_used_and_said_to_be_that(
    registry: Registry, demo: Model, sycophancy: VectorVersion, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    older = Recommendation((2,), 0.5, evidence={"rule": "of an earlier release"})
    registry.aliases.set("vector:team/ab", "best", older)
    with registry.steer(demo, "team/ab:best") as plan:
        assert [(a.layer, a.multiplier) for a in plan.additions] == [(2, 0.5)]
    assert "calibrated before vectors had to pass a verdict" in caplog.text
    assert json.dumps(older.as_json())
