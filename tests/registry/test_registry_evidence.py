"""Vectors found by what they do: filters, order, leaderboards, comparisons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from registry.registry_support import jsonl, letters

from caa_registry.errors import NoCommonDoseError, NotFoundError, UsageError
from caa_registry.models.model import Model
from caa_registry.registry.records import DatasetVersion, PropensitySettings
from caa_registry.registry.registry import Registry

if TYPE_CHECKING:
    from support.tiny_models import TinyModels

ASK: dict[str, Any] = {"multipliers": [-1, 1], "settings": PropensitySettings(draws=19)}
ALONE: dict[str, Any] = {"multipliers": [-1, 1], "settings": PropensitySettings(controls=())}


@pytest.fixture
def filled(registry: Registry, pairs: DatasetVersion, model: Model, tiny: TinyModels, tmp_path: Path) -> Registry:
    """Two vectors for one behavior, one of them on another model too, and one for another behavior."""
    registry.vectors.compute("team/a", dataset=pairs, model=model)
    registry.vectors.compute("team/b", dataset=pairs, model=model, method="pca")
    registry.vectors.compute("team/c", dataset=pairs, model=tiny("qwen2"))
    sources = {name: jsonl(tmp_path / f"{name}.jsonl", letters(4, about=name)) for name in ("generate", "test")}
    registry.datasets.import_(sources, name="team/other", behavior="kindness")
    registry.vectors.compute("team/d", dataset="team/other", model=model)
    return registry


def test_the_behavior_is_the_import_s_the_card_s_or_the_name_s(registry: Registry, pairs: DatasetVersion) -> None:
    assert pairs.behavior == "pairs"
    assert registry.datasets.import_("seed:demo-sycophancy-ab", name="x/y").behavior == "sycophancy"
    assert registry.datasets.import_("seed:myopic-reward", name="x/z").behavior == "myopic-reward"
    said = registry.datasets.import_("seed:refusal", name="x/w", behavior="saying-no")
    assert registry.datasets.get("x/w").behavior == said.behavior == "saying-no"
    with pytest.raises(UsageError, match="'Saying No' is not a name"):
        registry.datasets.import_("seed:refusal", name="x/v", behavior="Saying No")


def test_vectors_are_found_by_behavior_and_model(filled: Registry, model: Model) -> None:
    def names(**wanted: Any) -> list[str]:
        return [version.name for version in filled.vectors.ls(**wanted)]

    assert names() == ["team/a", "team/b", "team/c", "team/d"]
    assert names(behavior="pairs") == ["team/a", "team/b", "team/c"]
    assert names(behavior="kindness") == ["team/d"]
    assert names(model=model.info.name) == ["team/a", "team/b", "team/d"]
    assert names(model=model.info.fingerprint.digest[:20], behavior="pairs") == ["team/a", "team/b"]
    assert names(model=model.info.fingerprint.digest[7:15]) == ["team/a", "team/b", "team/d"]
    assert names(model="sha256:") == names(model="x") == names(behavior="x") == []


def test_evidence_is_of_the_evaluation_that_says_most_of_the_vector(filled: Registry, model: Model) -> None:
    (vector,) = filled.vectors.ls(behavior="kindness")
    assert filled.evaluations.evidence([vector]) == {}
    filled.evaluations.propensity(vector, model=model, **ASK)
    newer = filled.evaluations.propensity(vector, model=model, **ASK)
    filled.evaluations.propensity(vector, model=model, layers=[0, 1], **ASK)  # fewer layers
    filled.evaluations.propensity(vector, model=model, **ALONE)  # no controls
    filled.evaluations.propensity(vector, model=model, split="generate", **ASK)  # leaks
    filled.evaluations.propensity(vector, model=model, dataset="team/pairs", **ASK)  # another behavior
    filled.evaluations.propensity(vector, model=model, **{**ALONE, "multipliers": [1]})  # no slope
    found = filled.evaluations.evidence([vector])[vector.digest]
    assert found.evaluation.id == newer.id
    assert found.score == max(newer.of("steerability"), key=lambda score: score.value)
    assert found.null == newer.at(found.score.layer, "steerability", "covariance")
    chosen = newer.at(found.score.layer, "p_chosen_steerability", "covariance")
    assert chosen is not None and found.p_value == chosen.value
    assert filled.evaluations.evidence([vector], "effect")[vector.digest].score.metric == "effect"
    with pytest.raises(UsageError, match="there is no statistic 'beauty'"):
        filled.evaluations.evidence([vector], "beauty")  # type: ignore[arg-type]


def test_a_leaderboard_ranks_within_behavior_and_model(filled: Registry, model: Model, tiny: TinyModels) -> None:
    assert filled.evaluations.leaderboard() == []
    for name in "abd":
        filled.evaluations.propensity(f"team/{name}", model=model, **ALONE)
    filled.evaluations.propensity("team/c", model=tiny("qwen2"), **ALONE)
    found = filled.evaluations.leaderboard()
    groups = [(e.vector.behavior, e.vector.model.name) for e in found]
    assert len(found) == 4 and groups == sorted(groups)
    mine = filled.evaluations.leaderboard(behavior="pairs", model=model.info.name, metric="effect")
    assert [s.vector.name for s in mine] == ["team/a", "team/b"]
    # Nothing is ranked without a dose.
    assert {(s.rank, s.dose, s.p_holm, s.evidence.score.metric) for s in mine} == {(None, None, None, "effect")}


def test_two_vectors_are_compared_on_the_questions_that_both_answered(filled: Registry, model: Model) -> None:
    ask: dict[str, Any] = {"model": model, "multipliers": [-1, 0, 1]}
    one = filled.evaluations.propensity("team/a", **ask, settings=ALONE["settings"])
    half = filled.evaluations.propensity("team/b", **ask, settings=PropensitySettings(controls=(), rows="odd"))
    first, second, found = filled.evaluations.compare("team/a", "team/b")
    assert (first.id, second.id) == (one.id, half.id)
    assert {c.difference.n for c in found} == {2} and {c.metric for c in found} == {"log_odds", "effect"}
    observed = filled.evaluations.measurements(one.id).vector
    assert observed.kl is not None
    compared = next(c for c in found if c.metric == "log_odds")
    # Between 0 and the first multiplier, monotone cubics through three points stay within the steps of its items.
    assert compared.dose is not None and compared.dose <= observed.kl[compared.layer, [0, 2], 1::2].mean(axis=-1).min()
    odds = observed.log_odds[compared.layer, :, 1::2]
    assert abs(compared.one) <= np.abs(np.diff(odds, axis=0)).sum(axis=0).mean()
    _, _, layers = filled.evaluations.compare(str(one.id), str(one.id), layer=0, other_layer=2)
    assert [(c.metric, c.layer, c.other_layer) for c in layers] == [("log_odds", 0, 2), ("effect", 0, 2)]
    _, _, itself = filled.evaluations.compare(str(one.id), str(one.id), layer=1)
    assert all(c.difference.value == 0 and c.p_value == 1 for c in itself)
    wide = filled.evaluations.propensity("team/b", model=model, multipliers=[-1, 1], settings=ALONE["settings"])
    with pytest.raises(NoCommonDoseError, match=r"of the second at layer 0") as raised:
        filled.evaluations.compare(str(one.id), str(wide.id), layer=0)
    assert "at smaller multipliers and at 0" in raised.value.hint


def test_comparisons_that_make_no_sense_are_said(filled: Registry, model: Model) -> None:
    one = filled.evaluations.propensity("team/a", model=model, **ALONE)
    other = filled.evaluations.propensity("team/d", model=model, **ALONE)
    with pytest.raises(UsageError, match="no question in common"):
        filled.evaluations.compare(str(one.id), str(other.id))
    with pytest.raises(NotFoundError, match="team/b has no evaluation"):
        filled.evaluations.compare("team/a", "team/b")
    with pytest.raises(NotFoundError, match="no evaluation 77"):
        filled.evaluations.compare("team/a", "77")
    with pytest.raises(UsageError, match="the other layer has no counterpart"):
        filled.evaluations.compare("team/a", "team/d", other_layer=1)
