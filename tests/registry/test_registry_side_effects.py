"""What vectors do beside what they are for, and how strongly they can be used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from registry.registry_support import check_consistent, dump, events, jsonl, letters, only_failures
from support.effects import side_effects

from caa_registry.errors import InputError, NotFoundError, UsageError
from caa_registry.evaluation.side_effects.measure import tokenized
from caa_registry.evaluation.side_effects.neutral_text import text_of_file
from caa_registry.evaluation.unfinished import Unfinished
from caa_registry.models.model import Model
from caa_registry.registry.records import (
    CalibrationSettings,
    DatasetVersion,
    PropensitySettings,
    RecordedSideEffects,
    VectorVersion,
)
from caa_registry.registry.registry import Registry


@pytest.fixture
def version(registry: Registry, pairs: DatasetVersion, model: Model) -> VectorVersion:
    return registry.vectors.compute("team/v", dataset=pairs, model=model)


@pytest.fixture
def short(tmp_path: Path) -> str:
    """A text that a model of a short context reads."""
    path = tmp_path / "short.txt"
    path.write_text("\n\n".join(f"It is day {i}, and so they say." for i in range(12)), encoding="utf-8")
    return str(path)


def test_side_effects_are_stored_by_layer_and_multiplier(
    registry: Registry, version: VectorVersion, model: Model, short: str
) -> None:
    found = registry.evaluations.side_effects(version, model=model, text=short, multipliers=[-1, 0, 2])
    assert (found.kind, found.dataset, found.split, found.behavior) == ("side-effects", "text short.txt", "", "")
    text = text_of_file(Path(short))
    assert isinstance(found.settings, RecordedSideEffects) and found.settings.text_digest == text.digest
    stored = registry.vectors.load(version)
    wanted = side_effects(model, stored, tokenized(model, text), [0, 1, 2], [-1, 0, 2])
    for cell, kl, perplexity in zip(wanted, found.of("kl"), found.of("perplexity"), strict=True):
        assert (kl.layer, kl.multiplier, kl.n) == (cell.layer, cell.multiplier, 12)
        assert kl.value == pytest.approx(cell.kl.value, rel=1e-3, abs=1e-9)
        assert perplexity.value == pytest.approx(cell.perplexity.value, rel=1e-4)
        assert (kl.value == 0) == (kl.multiplier == 0)
    assert registry.evaluations.ls()[-1].id == found.id
    with pytest.raises(UsageError, match="stored without its items"):
        registry.evaluations.measurements(found.id)
    # Scores of text are no evidence of behavior.
    assert registry.evaluations.evidence([version]) == {} and registry.evaluations.leaderboard() == []
    check_consistent(registry)


def test_text_of_a_file_and_bad_text(registry: Registry, version: VectorVersion, model: Model, tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("It is a day.\n\nAnd now it is another one.\n", encoding="utf-8")
    found = registry.evaluations.side_effects(version, model=model, text=str(path), layers=[1])
    assert isinstance(found.settings, RecordedSideEffects)
    assert (found.of()[0].n, found.settings.passages) == (2, 2)
    before = dump(f"sqlite:///{registry.database.path}")
    path.write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="the file is empty"):
        registry.evaluations.side_effects(version, model=model, text=str(path))
    with pytest.raises(NotFoundError, match=r"none\.txt"):
        registry.evaluations.side_effects(version, model=model, text=str(tmp_path / "none.txt"))
    assert dump(f"sqlite:///{registry.database.path}") == before


def test_what_an_interrupted_call_measured_is_not_measured_again(
    registry: Registry, version: VectorVersion, model: Model, short: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = registry.evaluations.side_effects(version, model=model, text=short)
    before = dump(f"sqlite:///{registry.database.path}")
    parts: list[tuple[int | None, int]] = []
    add = Unfinished.add

    def told(self: Unfinished, condition: str, kept: dict[str, Any]) -> None:
        parts.append((kept["layer"], kept["text"]))
        add(self, condition, kept)

    def stop(done: int, total: int) -> None:
        if done >= 2 * total / 3 + 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Unfinished, "add", told)
    with pytest.raises(KeyboardInterrupt):
        registry.evaluations.side_effects(version, model=model, text=short, progress=stop)
    assert only_failures(registry, before)
    first, parts[:] = list(parts), []
    again = registry.evaluations.side_effects(version, model=model, text=short)
    passages = len({text for _, text in [*first, *parts]})
    assert sorted([*first, *parts], key=str) == sorted(
        ((layer, text) for layer in (None, 0, 1, 2) for text in range(passages)), key=str
    )
    assert first and parts
    assert [(s.layer, s.multiplier, s.metric, s.value) for s in again.scores] == [
        (s.layer, s.multiplier, s.metric, pytest.approx(s.value, rel=1e-4)) for s in expected.scores
    ]


@pytest.mark.long
def test_a_calibration_sets_an_alias_with_its_evidence(registry: Registry, demo: Model) -> None:
    data = registry.datasets.import_("seed:demo-sycophancy", name="team/sycophancy")
    vector = registry.vectors.compute("team/sycophancy", dataset=data, model=demo)
    made = registry.evaluations.calibrate(
        vector,
        model=demo,
        layers=[1, 2],
        multipliers=[-1, 1, 2, 6],
        settings=CalibrationSettings(text="demo", target_kl=0.4, coherence=2),
    )
    choice = made.calibration.choice
    assert choice is not None and made.alias is not None
    # Multiplier 6 moves most, and is beyond what text can bear.
    assert (choice.layer, choice.multiplier) == (2, 2.0)
    assert made.calibration.n_a == made.calibration.n_b == 20 and choice.effect_b.low is not None
    assert choice.effect_b.low > 0.2 and made.verdict is not None and made.verdict.passed
    alias = registry.aliases.get("vector:team/sycophancy:best")
    assert alias is not None and alias.recommendation is not None
    evidence = alias.recommendation.evidence
    assert evidence is not None
    assert (evidence["propensity"], evidence["side_effects"]) == (made.propensity.id, made.side_effects.id)
    assert evidence["answers"] == [e.id for e in made.answers] and len(made.answers) == 1
    assert evidence["effect_b"]["value"] == choice.effect_b.value and "half B" in evidence["rule"].replace(
        "Half", "half"
    )
    # What is reported is of the half that played no part in the choice.
    items = registry.evaluations.items(made.propensity)
    measured = registry.evaluations.measurements(made.propensity.id)
    cell = measured.vector.propensity[measured.layers.index(2), measured.multipliers.index(2.0)]
    from caa_registry.evaluation.calibration import halves

    digests = [items[row].digest for row in measured.vector.rows]
    divided = halves(digests, measured.vector.letters, measured.vector.clusters)
    assert choice.score_b.value == pytest.approx(cell[list(divided.b)].mean())
    assert [action for action, _ in events(registry)][-2:] == ["set-alias", "calibrate"]
    # With another target nothing is measured again but the answers of another cell.
    gentle = registry.evaluations.calibrate(
        vector,
        model=demo,
        layers=[1, 2],
        multipliers=[-1, 1, 2, 6],
        settings=CalibrationSettings(text="demo", coherence=2, alias="gentle"),
    )
    assert (gentle.propensity.id, gentle.side_effects.id) == (made.propensity.id, made.side_effects.id)
    assert gentle.calibration.choice is not None and gentle.calibration.choice.multiplier == 1.0
    with registry.steer(demo, "team/sycophancy:best") as plan:
        assert [(a.layer, a.multiplier) for a in plan.additions] == [(2, 2.0)]
    check_consistent(registry)


@pytest.mark.long
def test_incoherent_cells_are_passed_over(registry: Registry, demo: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    import caa_registry.registry.evaluations.calibration.calibrate as module

    data = registry.datasets.import_("seed:demo-sycophancy", name="team/sycophancy")
    vector = registry.vectors.compute("team/sycophancy", dataset=data, model=demo)
    ask: dict[str, Any] = {"model": demo, "layers": [2], "multipliers": [0.5, 1, 2]}
    asked = CalibrationSettings(text="demo", target_kl=0.4, coherence=1)
    real = module._coherent
    seen: list[float] = []

    def strict(*arguments: Any) -> Any:
        written, _ = real(*arguments)
        seen.append(arguments[2].multiplier)
        return written, len(seen) > 1

    monkeypatch.setattr(module, "_coherent", strict)
    made = registry.evaluations.calibrate(vector, **ask, settings=asked)
    assert seen == [2.0, 1.0] and made.calibration.choice is not None and made.calibration.choice.multiplier == 1.0
    assert len(made.answers) == 2
    monkeypatch.setattr(module, "_coherent", lambda *arguments: (real(*arguments)[0], False))
    nothing = registry.evaluations.calibrate(vector, **ask, settings=replace(asked, alias="other"))
    assert nothing.alias is None and "coherent" in nothing.calibration.reason
    assert registry.aliases.get("vector:team/sycophancy:other") is None


def test_nothing_that_qualifies_sets_no_alias(
    registry: Registry, version: VectorVersion, model: Model, short: str
) -> None:
    made = registry.evaluations.calibrate(
        version,
        model=model,
        multipliers=[-5, 5],
        settings=CalibrationSettings(text=short, target_kl=1e-9, coherence=0),
    )
    assert made.calibration.choice is None and "KL is above" in made.calibration.reason and made.alias is None
    assert registry.aliases.ls() == []


def test_scores_by_category(registry: Registry, version: VectorVersion, model: Model, tmp_path: Path) -> None:
    rows = [
        {
            "prompt": f"Which is it, {i}?\n\nChoices:\n(A) one\n(B) two",
            "correct": "(A)" if i % 2 else "(B)",
            "incorrect": "(B)" if i % 2 else "(A)",
            "correct_full_text": "one" if i % 2 else "two",
            "incorrect_full_text": "two" if i % 2 else "one",
            "category": "small" if i == 0 else "large",
        }
        for i in range(5)
    ]
    registry.datasets.import_(jsonl(tmp_path / "mc.jsonl", rows), name="team/mc")
    found = registry.evaluations.propensity(
        version, dataset="team/mc", model=model, settings=PropensitySettings(controls=())
    )
    by_multiplier = registry.evaluations.categories(found, 1)
    assert set(by_multiplier) == {-1.0, 0.0, 1.0}
    items = registry.evaluations.measurements(found.id).vector.propensity[1, 2]
    scores = by_multiplier[1.0]
    assert scores.categories["large"].value == pytest.approx(items[1:].mean()) and scores.categories["small"].n == 1
    assert scores.of_means.value == pytest.approx((items[0] + items[1:].mean()) / 2)
    plain = registry.evaluations.propensity(version, model=model, settings=PropensitySettings(controls=()))
    with pytest.raises(InputError, match="no category"):
        registry.evaluations.categories(plain.id)


def test_every_vector_on_every_behavior(
    registry: Registry, version: VectorVersion, model: Model, tmp_path: Path
) -> None:
    sources = {name: jsonl(tmp_path / f"{name}2.jsonl", letters(4, about=name)) for name in ("generate", "test")}
    registry.datasets.import_(sources, name="team/other")
    other = registry.vectors.compute("team/w", dataset="team/other", model=model)
    found, made = registry.evaluations.cross([version, other], model=model, layer=1, multiplier=2)
    assert found.vectors == ("team/v:v1", "team/w:v1") and found.behaviors == ("pairs", "other")
    assert [(e.vector, e.dataset) for e in made] == [
        (v, d) for v in ("team/v:v1", "team/w:v1") for d in ("team/pairs:v1", "team/other:v1")
    ]
    cell = found.effects["team/v:v1", "other"]
    scores = {score.multiplier: score.value for score in made[1].of()}
    assert cell.value == pytest.approx(scores[2.0] - scores[-2.0]) and cell.n == 4
    again, same = registry.evaluations.cross([version, other], model=model, layer=1, multiplier=2)
    assert [e.id for e in same] == [e.id for e in made] and again.effects == found.effects
    with pytest.raises(UsageError, match="different behaviors"):
        registry.evaluations.cross([version, version], model=model, layer=1)
    with pytest.raises(UsageError, match="not above 0"):
        registry.evaluations.cross([version, other], model=model, layer=1, multiplier=0)


@pytest.mark.long
def test_a_report_tells_of_side_effects_answers_and_what_is_recommended(
    registry: Registry, demo: Model, tmp_path: Path
) -> None:
    data = registry.datasets.import_("seed:demo-sycophancy", name="team/sycophancy")
    vector = registry.vectors.compute("team/sycophancy", dataset=data, model=demo)
    made = registry.evaluations.calibrate(
        vector, model=demo, layers=[2], multipliers=[1, 6], settings=CalibrationSettings(text="demo", coherence=1)
    )
    assert made.calibration.choice is not None
    text = registry.reports.write("team/sycophancy", tmp_path).read_text(encoding="utf-8")
    (kl,) = [score for score in made.side_effects.of("kl") if score.multiplier == 1]
    assert f"| +1 | {kl.value:.3f} |" in text and "text demo" in text
    assert f"## Open-ended answers: evaluation {made.answers[0].id}" in text
    assert "`team/sycophancy:best`: layer 2, multiplier 1" in text
    assert f"changed by {made.calibration.choice.effect_b.value:.3f}" in text
    with pytest.raises(UsageError, match="is of side-effects"):
        registry.reports.evaluation_pictures(made.side_effects.id)
