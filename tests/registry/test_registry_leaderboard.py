"""Vectors ranked at equal dose: who ties, who wins, who cannot be ranked, and what is said of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from registry.registry_support import jsonl, letters
from support.dosed import dosed
from support.stored_measurements import store_measured

from caa_registry.errors import NoCommonDoseError, UsageError
from caa_registry.evaluation.inference.p_values import holm
from caa_registry.evaluation.measurements import Measurements, Null
from caa_registry.models.model import Model
from caa_registry.registry.evaluations.ranking.leaderboard import ranks
from caa_registry.registry.records import DatasetVersion, Evaluation, Ranked, Recommendation, Score
from caa_registry.registry.registry import Registry

N = 60
NARROW, USUAL, WIDE = (tuple(map(float, np.linspace(-widest, widest, 7))) for widest in (0.5, 1, 4))
NULL = Null(np.tile([0.4, 0.5], (19, 2, 1)), np.tile([0.0, 0.1], (19, 2, 1)), (-1.0, 1.0), (1.0, 1.0))


def direction(
    multipliers: Sequence[float] = USUAL, scale: float = 1.0, better: float = 0.0, kl: float | None = 0.5
) -> Measurements:
    """The same direction at layer 1, ``scale`` times as long, and half of it at layer 0. ``better``: by how much more
    it does at equal dose. ``kl``: its dose at multiplier 1 where it is not scaled."""
    slopes = scale * (np.random.default_rng(3).gamma(2, 0.4, N) + better)
    kl = None if kl is None else kl * scale**2
    measured = dosed(np.stack([slopes / 2, slopes]), multipliers, kl, curved=True)
    observed = replace(measured.vector, letters=tuple("BA"[i % 2] for i in range(N)))
    return replace(measured, observed={"vector": observed})


@pytest.fixture
def questions(registry: Registry, tmp_path: Path) -> DatasetVersion:
    sources = {name: jsonl(tmp_path / f"{name}.jsonl", letters(N, about=name)) for name in ("generate", "test")}
    return registry.datasets.import_(sources, name="team/s")


def filled(
    registry: Registry, questions: DatasetVersion, model: Model, measured: Mapping[str, Measurements]
) -> dict[str, Evaluation]:
    """An evaluation of each of ``measured``, of a vector of that name."""
    methods = ["mean-difference", "pca", "lda", "logistic"]
    found = {}
    for i, (name, each) in enumerate(measured.items()):
        vector = registry.vectors.compute(f"team/{name}", dataset=questions, model=model, method=methods[i])
        found[name] = store_measured(registry, vector, each, model, questions)
    return found


def by_name(ranking: Sequence[Ranked]) -> dict[str, Ranked]:
    return {ranked.vector.name.removeprefix("team/"): ranked for ranked in ranking}


@pytest.mark.parametrize("metric", ["effect", "steerability"])
def test_the_same_direction_ties_however_long_it_is_and_wherever_it_was_measured(
    registry: Registry, questions: DatasetVersion, model: Model, metric: Any
) -> None:
    measured = {
        "base": direction(),
        "longer": direction(scale=1.066),
        "narrow": direction(NARROW),
        "wide": direction(WIDE),
    }
    evaluations = filled(registry, questions, model, measured)
    found = by_name(registry.evaluations.leaderboard(metric=metric))
    assert {name: ranked.rank for name, ranked in found.items()} == dict.fromkeys(measured, 1)
    assert {(s.dose, s.sides, s.evidence.score.layer) for s in found.values()} == {(0.1, "both", 1)}
    values = {name: ranked.evidence.score.value for name, ranked in found.items()}
    assert max(values.values()) - min(values.values()) < 0.005 * (1 if metric == "effect" else 5)
    # Over the multipliers that were measured they are far apart.
    slopes = [max(s.value for s in e.of("effect")) for e in evaluations.values()]
    assert max(slopes) - min(slopes) > 0.2
    for other in ("longer", "narrow", "wide"):
        _, _, compared = registry.evaluations.compare(f"team/{other}", "team/base", layer=1)
        effect = compared[1]
        assert effect.dose in (0.1, 0.2) and abs(effect.difference.value) < 0.005
        assert effect.difference.low is not None and effect.difference.high is not None
        assert effect.difference.low <= 0 <= effect.difference.high and effect.p_value > 0.05


def test_what_truly_does_more_ranks_first_though_others_are_longer(
    registry: Registry, questions: DatasetVersion, model: Model
) -> None:
    measured = {
        "long": direction(WIDE, 1.066),
        "better": direction(USUAL, 0.7, better=0.8),
        "base": direction(WIDE),
    }
    evaluations = filled(registry, questions, model, measured)
    for metric in ("effect", "steerability"):
        ranking = registry.evaluations.leaderboard(metric=metric)  # type: ignore[arg-type]
        assert (ranking[0].vector.name, ranking[0].rank) == ("team/better", 1)
        assert {s.rank for s in ranking[1:]} == {2}
        best = ranking[0].evidence
        assert best.score == evaluations["better"].at(1, f"{'effect' if metric == 'effect' else 'log_odds'}_at_0.1")
        assert best.null is None
    at_most = max(s.value for s in evaluations["better"].of("effect"))
    assert all(max(s.value for s in evaluations[name].of("effect")) > at_most for name in ("long", "base"))


def test_a_group_is_ranked_at_the_largest_dose_up_to_a_tenth_that_all_reach(
    registry: Registry, questions: DatasetVersion, model: Model
) -> None:
    measured = {"a": direction(), "b": direction(kl=0.03), "c": direction(kl=0.005), "d": direction(kl=None)}
    filled(registry, questions, model, measured)
    ranking = registry.evaluations.leaderboard()
    assert [s.vector.name for s in ranking][2:] == ["team/c", "team/d"]
    found = by_name(ranking)
    assert {s.dose for s in ranking} == {0.02}
    assert found["a"].rank is not None and found["b"].rank is not None
    assert (found["c"].rank, found["c"].reason) == (None, "it reaches 0.005 nats per token, not 0.02")
    again = "caa eval propensity team/{}:v1 --dataset team/s:v1 --split test --multipliers {}"
    assert found["c"].measure == again.format("c", "-2.5,-1.25,0,1.25,2.5")
    assert (found["d"].rank, found["d"].reason) == (None, "its dose was not measured")
    assert found["d"].measure == again.format("d", "-1,-0.666667,-0.333333,0,0.333333,0.666667,1")
    # Without a rank the statistic is over the multipliers.
    assert found["d"].evidence.score.metric == "steerability"
    at = by_name(registry.evaluations.leaderboard(dose=0.2))
    assert {name: s.rank for name, s in at.items()} == {"a": 1, "b": None, "c": None, "d": None}
    assert at["b"].reason == "it reaches 0.03 nats per token, not 0.2"
    with pytest.raises(UsageError, match=r"no figures at 0\.3 nats per token"):
        registry.evaluations.leaderboard(dose=0.3)


def test_doses_that_do_not_overlap_are_refused_or_listed_below(
    registry: Registry, questions: DatasetVersion, model: Model
) -> None:
    far = tuple(m for m in WIDE if m)
    filled(registry, questions, model, {"near": direction(kl=0.03), "far": direction(far)})
    found = by_name(registry.evaluations.leaderboard())
    # From 0.89 on there is no rung that the second reaches.
    assert (found["near"].rank, found["far"].rank) == (1, None)
    assert found["far"].reason == "multiplier 0 was not measured" and ",0," in found["far"].measure
    with pytest.raises(NoCommonDoseError, match="there is no common dose: on both sides of 0"):
        registry.evaluations.compare("team/near", "team/far")


def test_one_side_of_0_is_ranked_alone_or_not_at_all(
    registry: Registry, questions: DatasetVersion, model: Model
) -> None:
    up = tuple(m for m in USUAL if m >= 0)
    filled(registry, questions, model, {"a": direction(up), "b": direction(up, better=0.8)})
    ranking = registry.evaluations.leaderboard()
    assert [(s.vector.name, s.rank, s.sides) for s in ranking] == [("team/b", 1, "up"), ("team/a", 2, "up")]
    vector = registry.vectors.get("team/b")
    whole = store_measured(registry, vector, direction(), model, questions)
    found = by_name(registry.evaluations.leaderboard())
    assert (found["b"].rank, found["b"].sides, found["b"].evidence.evaluation.id) == (1, "both", whole.id)
    assert found["a"].reason == "it was measured above 0 only, others on both sides of 0"
    assert found["a"].measure.endswith("--multipliers -1,-0.666667,-0.333333,0,0.333333,0.666667,1")


def test_too_few_questions_have_no_interval_and_no_rank(
    registry: Registry, pairs: DatasetVersion, model: Model
) -> None:
    vector = registry.vectors.compute("team/few", dataset=pairs, model=model)
    store_measured(registry, vector, dosed(np.ones((1, 4)), USUAL, 0.5), model, pairs)
    (ranked,) = registry.evaluations.leaderboard()
    assert (ranked.rank, ranked.measure) == (None, "")
    assert ranked.reason == "4 questions are too few for an interval"


def test_an_evaluation_with_its_dose_speaks_before_one_without(
    registry: Registry, questions: DatasetVersion, model: Model
) -> None:
    first = filled(registry, questions, model, {"a": direction()})["a"]
    older = replace(direction(kl=None), nulls={"covariance": NULL})
    store_measured(registry, registry.vectors.get("team/a"), older, model, questions)
    (ranked,) = registry.evaluations.leaderboard()
    assert (ranked.rank, ranked.evidence.evaluation.id) == (1, first.id)


def test_p_values_are_corrected_for_the_vectors_of_the_group(
    registry: Registry, questions: DatasetVersion, model: Model
) -> None:
    odds = np.where(np.arange(19) < 5, 9.0, 0.1)[:, None, None] * [0.0, 1.0]
    strong = replace(NULL, log_odds=np.broadcast_to(odds, (19, 2, 2)))
    measured = {
        "a": replace(direction(), nulls={"covariance": NULL}),
        "b": replace(direction(kl=None), nulls={"covariance": strong}),
        "c": direction(),
    }
    filled(registry, questions, model, measured)
    found = by_name(registry.evaluations.leaderboard())
    ps = [found[name].evidence.p_value for name in "ab"]
    assert ps == [0.05, 0.3]
    assert [found[name].p_holm for name in "ab"] == holm([p for p in ps if p is not None])
    assert found["a"].p_holm == 0.1 and found["c"].evidence.p_value is None is found["c"].p_holm


def advice(*accepted: str, verdict: bool = True) -> Recommendation:
    conditions = [{"name": name, "met": False, "figure": "", "accepted": True} for name in accepted]
    held = [{"name": "leaks", "met": True, "figure": "", "accepted": False}]
    return Recommendation((1,), 1.0, evidence={"verdict": [*conditions, *held]} if verdict else {"rule": ""})


@pytest.mark.parametrize(
    "aliases,verdict",
    [
        ({}, "not calibrated"),
        ({"tried": Recommendation((1,), 2.0)}, "not calibrated"),
        ({"best": advice()}, "passed"),
        ({"best": advice("null", "kl")}, "accepted: null, kl"),
        ({"best": advice(verdict=False)}, "before verdicts"),
        ({"a": advice(verdict=False), "best": advice("kl")}, "accepted: kl"),
        ({"a": advice("kl"), "b": advice(), "c": Recommendation((0,))}, "passed"),
    ],
)
def test_the_verdict_of_a_calibration_stands_beside_a_vector(
    registry: Registry,
    questions: DatasetVersion,
    model: Model,
    aliases: Mapping[str, Recommendation],
    verdict: str,
) -> None:
    filled(registry, questions, model, {"a": direction()})
    registry.vectors.compute("team/a", dataset=questions, model=model, method="pca")
    for name, recommendation in aliases.items():
        registry.aliases.set("team/a:v1", name, recommendation)
    registry.aliases.set("team/a:v2", "newer", advice("grid"))
    (ranked,) = registry.evaluations.leaderboard()
    assert ranked.verdict == verdict


def test_ranks_are_those_of_a_plain_loop() -> None:
    generator = np.random.default_rng(0)
    for n in (1, 2, 30):
        lows = generator.normal(size=n)
        highs = lows + generator.gamma(1, 0.5, n)
        scores = [Score(0, None, "x", low, low, high, 9) for low, high in zip(lows, highs, strict=True)]
        assert ranks(scores) == [1 + sum(low > high for low in lows) for high in highs]
