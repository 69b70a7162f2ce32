"""Pictures and reports of what the registry holds."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from matplotlib.text import Text
from registry.registry_support import jsonl, letters

from caa_registry.errors import ModelMismatchError, UsageError
from caa_registry.evaluation.measurements import Observed
from caa_registry.models.model import Model
from caa_registry.registry.evaluations.layers import shown_layer
from caa_registry.registry.records import DatasetVersion, PropensitySettings, VectorVersion
from caa_registry.registry.registry import Registry
from caa_registry.registry.reports.content import EvaluationContent
from caa_registry.registry.reports.evaluation_pictures import caption_of, evaluation_pictures
from caa_registry.registry.reports.nulls import null_intervals, outside_null
from caa_registry.registry.reports.propensity import propensity_section

if TYPE_CHECKING:
    from support.tiny_models import TinyModels

ASK: dict[str, Any] = {
    "multipliers": [-1, 0, 1],
    "settings": PropensitySettings(draws=19, few_shot=1, system_positive="Say | A."),
}
ALONE = PropensitySettings(controls=())


@pytest.fixture
def version(registry: Registry, pairs: DatasetVersion, model: Model) -> VectorVersion:
    return registry.vectors.compute("team/v", dataset=pairs, model=model)


def words(picture: Any) -> str:
    return " ".join(text.get_text() for text in picture.findobj(Text))


def test_an_evaluation_s_pictures_carry_its_references(
    registry: Registry, version: VectorVersion, model: Model
) -> None:
    found = registry.evaluations.propensity(version, model=model, **ASK)
    made = registry.reports.evaluation_pictures(found.id)
    assert set(made) == {"dose-response", "layers", "heat-map", "items", "slopes"}
    for picture in made.values():
        said = " ".join(words(picture).split())
        for reference in ("team/v:v1", version.digest[7:19], "team/pairs:v1", "n = 4", "evaluation 1"):
            assert reference in said, said
    assert "few-shot and vector" in words(made["dose-response"])
    # With fewer layers, multipliers or controls there is less to draw.
    one = registry.evaluations.propensity(version, model=model, layers=[1], multipliers=[1], settings=ALONE)
    assert set(registry.reports.evaluation_pictures(one.id)) == {"dose-response"}
    assert "Controls" not in caption_of(version, one)


def test_the_layer_that_is_shown_is_the_most_steerable_or_the_one_asked_for(
    registry: Registry, version: VectorVersion, model: Model
) -> None:
    found = registry.evaluations.propensity(version, model=model, layers=[0, 2], settings=ALONE)
    slopes = {score.layer: score.value for score in found.of("steerability")}
    assert shown_layer(found) == max(slopes, key=lambda layer: slopes[layer])
    assert shown_layer(found, 0) == 0
    with pytest.raises(UsageError, match="evaluation 1 has no layer 1"):
        shown_layer(found, 1)


def test_vectors_are_drawn_alone_and_together(
    registry: Registry, version: VectorVersion, model: Model, pairs: DatasetVersion, demo: Model
) -> None:
    made = registry.reports.vector_pictures([version], model=model)
    assert set(made) == {"cosines", "projection"}
    assert "answers A" in words(made["projection"]) and "layer 2" in words(made["projection"])
    other = registry.vectors.compute("team/w", dataset=pairs, model=model, method="pca")
    assert other.digest[7:19] in words(registry.reports.vector_pictures([version, "team/w"], layer=1)["cosines"])
    with pytest.raises(UsageError, match="no layer is given"):
        registry.reports.vector_pictures([version, other])
    registry.vectors.compute("team/wide", dataset=pairs, model=demo)
    with pytest.raises(UsageError, match="of different widths"):
        registry.reports.vector_pictures([version, "team/wide"], layer=1)


def test_a_report_has_every_number_and_says_where_it_is_from(
    registry: Registry, version: VectorVersion, model: Model, tmp_path: Path
) -> None:
    found = registry.evaluations.propensity(version, model=model, **ASK)
    path = registry.reports.write("team/v", tmp_path / "deep" / "report", layer=1)
    text = path.read_text(encoding="utf-8")
    assert path.name == "report.md" and not list(path.parent.glob("*.part"))
    links = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert len(links) == 6 and all((path.parent / link).stat().st_size > 1000 for link in links)
    for reference in (version.digest, version.model.fingerprint.digest, "team/pairs:v1", "evaluation 1"):
        assert reference in text
    (slope,) = [score for score in found.of("steerability") if score.layer == 1]
    assert f"**{slope.value:+.3f}**" in text
    for score in found.of():
        if score.layer == 1:
            assert f"{score.value:.3f}" in text
    for metric in ("kl", "norm_ratio"):
        for score in found.of(metric):
            assert score.layer != 1 or f" {score.value:.3f} |" in text
    assert "The dose-response at layer 1" in text
    drawn = registry.evaluations.measurements(found.id).nulls["covariance"].log_odds
    slopes = (drawn[..., 1] - drawn[..., 0]) / 2
    assert f"of 1.000 times its length: slopes from {slopes[:, 1].min():+.3f} to {slopes[:, 1].max():+.3f}" in text
    # At the extremes of three equal steps the slope is that of the line through all.
    for values, where in ((np.abs(slopes[:, 1]), "at this layer"), (np.abs(slopes).max(axis=1), "chosen of all")):
        assert f"p = {(1 + (values >= abs(slope.value)).sum()) / (1 + len(values)):.3f}" in text and where in text
    assert "- few-shot: 1 pair of" in text and "'Say | A.'" in text
    # A table's cells are the same number in every row.
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table


@pytest.mark.parametrize("draws", [199, 198])
def test_nulls_are_shown_where_they_were_measured(
    registry: Registry, version: VectorVersion, model: Model, draws: int
) -> None:
    found = registry.evaluations.propensity(version, model=model, **ASK)
    measured = registry.evaluations.measurements(found.id)
    values = np.random.default_rng(0).uniform(0.2, 0.4, (draws, len(measured.layers), 2))
    null = replace(measured.nulls["covariance"], propensity=values)
    cells = np.full_like(measured.vector.log_p, 0.5)
    cells[0, 0], cells[0, 2], cells[1, 2] = 0.001, 0.9, 0.3  # of layer 0 both ends, of layer 1 none
    cells[..., 1] = 1 - cells[..., 0]
    ten = tuple(range(10)), ("A", "") * 5, np.log(np.repeat(cells[:, :, :1], 10, axis=2)), tuple(range(10))
    shown = EvaluationContent(
        version, found, 1, replace(measured, nulls={"covariance": null}, observed={"vector": Observed(*ten)})
    )
    ranges = null_intervals(shown, "covariance")
    assert list(ranges) == [-1.0, 1.0] and null_intervals(shown, "shuffled") == {}
    outside = outside_null(shown)
    if draws < 199:
        assert all(each.low is None for each in ranges.values()) and outside is None
    else:
        assert [ranges[1.0].low, ranges[1.0].high] == pytest.approx(np.percentile(values[:, 1, 1], [2.5, 97.5]))
        assert outside is not None and outside[:2].tolist() == [[True, False, True], [True, False, False]]
    made = evaluation_pictures(shown)
    bold = "outside the null's middle 95 %" in " ".join(words(made["heat-map"]).split())
    assert bold == (draws == 199) == ("null, 95 %" in words(made["dose-response"]))
    text = "\n".join(propensity_section(shown, []))
    table = text.partition("### By multiplier")[2]
    row = next(line for line in table.splitlines() if line.startswith("| -1 | "))
    assert (f"{ranges[-1.0].low:.3f} to {ranges[-1.0].high:.3f}" in row) if draws == 199 else "null, 95 %" not in table


def test_a_report_prefers_the_vector_s_own_behavior_and_marks_leaks(
    registry: Registry, version: VectorVersion, model: Model, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="team/v:v1 has no evaluation to report"):
        registry.reports.write("team/v", tmp_path / "none")
    assert not (tmp_path / "none").exists()
    registry.evaluations.propensity(version, model=model, split="generate", multipliers=[1], settings=ALONE)
    leaked = registry.reports.write("team/v", tmp_path / "leaked").read_text(encoding="utf-8")
    assert "4 questions among the vector's own pairs" in leaked and "LEAKED" in leaked
    own = registry.evaluations.propensity(version, model=model, settings=ALONE)
    registry.datasets.import_(jsonl(tmp_path / "o.jsonl", letters(3, about="tea")), name="team/other")
    registry.evaluations.propensity(version, model=model, dataset="team/other", split="generate", settings=ALONE)
    text = registry.reports.write("team/v", tmp_path / "own").read_text(encoding="utf-8")
    assert f"## How well it works: evaluation {own.id}" in text
    assert text.count("| team/other:v1 |") == 1 and "| exploratory, leaked |" in text and "uarantined" not in text
    registry.datasets.recall(version.dataset, why="no licence")
    text = registry.reports.write("team/v", tmp_path / "recalled").read_text(encoding="utf-8")
    assert f"**Quarantined**: {version.dataset} was recalled: no licence." in text
    assert "| exploratory, leaked, quarantined |" in text and "| exploratory, quarantined |" in text


def test_tokens_are_projected_on_a_stored_vector(
    registry: Registry, version: VectorVersion, model: Model, tiny: TinyModels
) -> None:
    found = registry.vectors.tokens(version, model, "Is it good?", completion="(A)", layer=1)
    assert "".join(token.text for token in found).startswith("Is it good?")
    with pytest.raises(UsageError, match="has no layer 7"):
        registry.vectors.tokens(version, model, "Is it good?", layer=7)
    with pytest.raises(ModelMismatchError):
        registry.vectors.tokens(version, tiny("llama", seed=1), "Is it good?", layer=1)
