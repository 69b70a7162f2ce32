"""Every number of a report, computed again in a few lines from the answers themselves."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy import special, stats

from caa_registry.models.model import Model
from caa_registry.registry.records import (
    CalibrationSettings,
    Evaluation,
    PlanSettings,
    PropensitySettings,
    VectorVersion,
)
from caa_registry.registry.registry import Registry
from caa_registry.registry.reports.tables import ReportTable

MULTIPLIERS = (-1.0, -0.5, 0.0, 0.5, 1.0)
LAYERS = (1, 2)


@dataclass(frozen=True)
class Reported:
    version: VectorVersion
    evaluation: Evaluation
    tables: dict[str, ReportTable]


@pytest.fixture
def sycophancy(registry: Registry, demo: Model) -> VectorVersion:
    data = registry.datasets.import_("seed:demo-sycophancy-ab", name="team/ab")
    return registry.vectors.compute("team/ab", dataset=data, model=demo)


@pytest.fixture
def reported(registry: Registry, demo: Model, sycophancy: VectorVersion) -> Reported:
    asked = PropensitySettings(controls=("isotropic",), draws=39)
    found = registry.evaluations.propensity(
        sycophancy, model=demo, layers=LAYERS, multipliers=MULTIPLIERS, settings=asked
    )
    return Reported(sycophancy, found, registry.reports.tables(sycophancy, layer=1))


def test_every_score_is_that_of_the_answers(registry: Registry, reported: Reported) -> None:
    measured = registry.evaluations.measurements(reported.evaluation.id)
    observed, letters = measured.vector, np.array(measured.vector.letters)
    odds = observed.log_p[..., 0] - observed.log_p[..., 1]
    propensity = special.expit(odds)
    frame = reported.tables["scores"].to_frame()
    own = frame[frame["condition"] == "vector"]

    def stored(metric: str, layer: int, multiplier: float | None = None) -> tuple[float, float, float, int]:
        rows = own[(own["metric"] == metric) & (own["layer"] == layer)]
        rows = rows[rows["multiplier"].isna()] if multiplier is None else rows[rows["multiplier"] == multiplier]
        (row,) = rows.itertuples()
        return row.value, row.ci_low, row.ci_high, row.n

    for (i, layer), (j, multiplier) in itertools.product(enumerate(LAYERS), enumerate(MULTIPLIERS)):
        values = propensity[i, j]
        value, low, high, n = stored("propensity", layer, multiplier)
        assert (value, n) == (pytest.approx(values.mean()), len(values))
        # The interval is the wider one of Student's and the bootstrap's.
        narrowest = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
        assert low <= narrowest[0] + 1e-9 and high >= narrowest[1] - 1e-9 and high - low < 0.5
        masses = np.exp(observed.log_p[i, j]).sum(axis=-1)
        assert stored("mass", layer, multiplier)[0] == pytest.approx(masses.mean())
        bias = values[letters == "A"].mean() - values[letters == "B"].mean()
        assert stored("letter_bias", layer, multiplier)[0] == pytest.approx(bias)
    for i, layer in enumerate(LAYERS):
        slopes = np.polyfit(MULTIPLIERS, odds[i], 1)[0]
        changes = propensity[i, -1] - propensity[i, 0]
        for metric, letter_metric, values in (
            ("steerability", "letter_slope", slopes),
            ("effect", "letter_effect", changes),
        ):
            a, b = values[letters == "A"].mean(), values[letters == "B"].mean()
            assert stored(metric, layer)[0] == pytest.approx((a + b) / 2)
            assert stored(letter_metric, layer)[0] == pytest.approx((a - b) / 2)
        against = {
            "anti_steerable": slopes < 0,
            "wrong_way_up": propensity[i, -1] < propensity[i, 2],
            "wrong_way_down": propensity[i, 0] > propensity[i, 2],
        }
        for metric, holds in against.items():
            wilson = stats.binomtest(int(holds.sum()), len(holds)).proportion_ci(method="wilson")
            assert stored(metric, layer)[:3] == pytest.approx((holds.mean(), wilson.low, wilson.high))


def test_every_p_value_is_the_rank_among_the_vectors_that_mean_nothing(registry: Registry, reported: Reported) -> None:
    measured = registry.evaluations.measurements(reported.evaluation.id)
    odds, letters = measured.vector.log_p[..., 0] - measured.vector.log_p[..., 1], np.array(measured.vector.letters)
    by_letter = [odds[..., letters == letter].mean(axis=-1) for letter in "AB"]
    seen = np.abs(np.mean([(mean[:, -1] - mean[:, 0]) / 2 for mean in by_letter], axis=0))
    drawn = measured.nulls["isotropic"].log_odds
    others = np.abs((drawn[..., 1] - drawn[..., 0]) / 2)
    frame = reported.tables["scores"].to_frame()
    null = frame[frame["condition"] == "isotropic"]
    for i, layer in enumerate(LAYERS):
        for metric, values in (
            ("p_steerability", others[:, i]),
            ("p_chosen_steerability", others.max(axis=1)),
        ):
            exceeding = np.flatnonzero(values >= seen[i])
            wanted = 20 / (exceeding[19] + 1) if len(exceeding) >= 20 else (1 + len(exceeding)) / (1 + len(values))
            (found,) = null[(null["metric"] == metric) & (null["layer"] == layer)]["value"]
            assert found == pytest.approx(wanted)


def test_items_and_layers_are_told_one_by_one(registry: Registry, reported: Reported) -> None:
    measured = registry.evaluations.measurements(reported.evaluation.id)
    odds = measured.vector.log_p[..., 0] - measured.vector.log_p[..., 1]
    items = reported.tables["items"].to_frame()
    assert len(items) == len(LAYERS) * len(measured.vector.rows)
    for i, layer in enumerate(LAYERS):
        at = items[items["layer"] == layer]
        np.testing.assert_allclose(at["slope"], np.polyfit(MULTIPLIERS, odds[i], 1)[0])
        np.testing.assert_allclose(at["effect"], special.expit(odds[i, -1]) - special.expit(odds[i, 0]))
        assert tuple(at["letter"]) == measured.vector.letters and tuple(at["row"]) == measured.vector.rows
    layers = reported.tables["layers"].to_frame()
    vectors = registry.vectors.load(reported.version)
    for row in layers.itertuples():
        values = np.asarray(vectors[row.layer].values, np.float64)
        assert row.norm == pytest.approx(np.sqrt((values**2).sum()), rel=1e-6)
        assert row.dominant_dimension == np.abs(values).argmax()
        assert row.dominant_share == pytest.approx((values**2).max() / (values**2).sum(), rel=1e-5)


def rows_of(table: ReportTable) -> Iterator[list[str]]:
    for row in table.rows:
        yield ["" if value is None else str(value) for value in row]


def test_sheets_hold_the_tables_in_full(registry: Registry, reported: Reported, tmp_path: Path) -> None:
    path = registry.reports.write(reported.version, tmp_path / "report", layer=1)
    text = path.read_text(encoding="utf-8")
    for name, table in reported.tables.items():
        written = path.with_name(f"{name}.csv").read_text(encoding="utf-8")
        header, *rows = csv.reader(io.StringIO(written, newline=""))
        assert tuple(header) == table.columns and rows == list(rows_of(table))
        assert f"`{name}.csv`" in text
        assert list(table.to_frame().columns) == list(table.columns) and len(table.to_frame()) == len(table.rows)
    assert list(csv.reader(io.StringIO(ReportTable(("a",), (('x,"y"\nz',),)).to_csv(), newline=""))) == [
        ["a"],
        ['x,"y"\nz'],
    ]


def test_a_report_begins_with_what_the_calibration_decided(
    registry: Registry, demo: Model, sycophancy: VectorVersion, tmp_path: Path
) -> None:
    asked = CalibrationSettings(text="demo", coherence=0)

    def verdict(name: str) -> str:
        text = registry.reports.write(sycophancy, tmp_path / name).read_text(encoding="utf-8")
        assert text.index("## Verdict") < text.index("## How well it works") < text.index("## Environment")
        return text[text.index("## Verdict") : text.index("## How well it works")]

    registry.evaluations.propensity(sycophancy, model=demo, layers=[2], settings=PropensitySettings(controls=()))
    assert "No calibration has decided about this vector" in verdict("none")
    failed = registry.evaluations.calibrate(sycophancy, model=demo, layers=[3], multipliers=[-1, 1], settings=asked)
    assert failed.alias is None
    assert "Nothing is recommended" in verdict("failed")
    for condition in failed.verdict.failed if failed.verdict else ():
        assert f"| {condition.name} | **no** | {condition.figure} |" in verdict(f"failed-{condition.name}")
    passed = registry.evaluations.calibrate(
        sycophancy, model=demo, layers=[2], multipliers=[0.25, 0.5, 6], settings=asked
    )
    assert passed.calibration.choice is not None and passed.verdict is not None and passed.alias is not None
    text = verdict("passed")
    assert f"**Passed**: layer 2, multiplier {passed.calibration.choice.multiplier:+g} may be recommended." in text
    effect = passed.calibration.choice.effect_b
    assert f"changed by {effect.value:+.3f} ({effect.low:.3f} to {effect.high:.3f})" in text
    assert all(f"| {condition.name} | yes | {condition.figure} |" in text for condition in passed.verdict.conditions)


def test_a_report_shows_the_layer_that_the_verdict_is_about(
    registry: Registry, demo: Model, sycophancy: VectorVersion, tmp_path: Path
) -> None:
    registry.evaluations.propensity(sycophancy, model=demo, layers=[1, 2], settings=PropensitySettings(controls=()))

    def text(name: str, layer: int | None = None) -> str:
        return registry.reports.write(sycophancy, tmp_path / name, layer=layer).read_text(encoding="utf-8")

    assert "### By multiplier, layer 2\n" in text("before")
    asked = CalibrationSettings(text="demo", coherence=0)
    registry.evaluations.calibrate(sycophancy, model=demo, layers=[1], multipliers=[0.5, 1], settings=asked)
    assert "### By multiplier, layer 1\n" in text("after")
    assert "Layer 1 is shown because the newest calibration chose it" in text("said")
    assert "### By multiplier, layer 2\n" in text("named", 2)


def test_a_report_tells_the_plan_its_conditions_and_the_effects_at_equal_dose(
    registry: Registry, demo: Model, sycophancy: VectorVersion, tmp_path: Path
) -> None:
    asked = CalibrationSettings(text="demo", coherence=0, alias="tried")
    calibrated = registry.evaluations.calibrate(sycophancy, model=demo, layers=[3], multipliers=[-1, 1], settings=asked)
    settings = PlanSettings(draws=39, level=0.04, beyond=0.99)
    plan = registry.plans.make(
        "team/plan", sycophancy, model=demo, layers=[2], multipliers=MULTIPLIERS, settings=settings
    )
    run = registry.plans.run(plan, model=demo)
    came = registry.plans.outcome(run)
    text = registry.reports.write(sycophancy, tmp_path).read_text(encoding="utf-8")
    section = text[text.index("## The plan: team/plan") : text.index("## What it is")]
    assert plan.digest[7:19] in section and "| condition null | p is at most 0.04 |" in section
    assert f"**Not all conditions hold** at layer 2. {run.standing.sentence}" in section
    for condition in came.conditions:
        assert f"| {condition.name} | {'yes' if condition.met else '**no**'} | {condition.figure} |" in section
    frame = registry.reports.tables(sycophancy)["conditions"].to_frame()
    assert calibrated.verdict is not None
    for source, conditions in (("calibration", calibrated.verdict.conditions), ("plan team/plan", came.conditions)):
        rows = frame[frame["of"] == source]
        assert list(rows["condition"]) == [each.name for each in conditions]
        assert list(rows["met"]) == [each.met for each in conditions]
        assert list(rows["figure"]) == [each.figure for each in conditions]
    doses = text[text.index("### At equal dose, layer 2") :].split("\n## ")[0]
    told = dict(re.findall(r"^\| ([0-9.]+) \| ([+-][0-9.]+) \|", doses, re.MULTILINE))
    figures = {metric: run.at(2, f"effect_at_{metric}") for metric in ("0.01", "0.02", "0.05", "0.1", "0.2", "0.5")}
    assert told and told == {dose: f"{score.value:+.3f}" for dose, score in figures.items() if score}
