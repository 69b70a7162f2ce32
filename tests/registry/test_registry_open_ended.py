"""Open-ended answers in the registry: generated, rated by endpoints, models and people, resumed where interrupted."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from registry.registry_support import check_consistent, dump, events, jsonl, only_failures
from support.judge_server import JudgeServer

from caa_registry.engine.decoding import answers as decoding
from caa_registry.errors import InputError, JudgeError, UsageError
from caa_registry.evaluation.open_ended.endpoint import EndpointJudge
from caa_registry.evaluation.open_ended.rubrics import find_rubric
from caa_registry.evaluation.unfinished import Unfinished
from caa_registry.models.model import Model
from caa_registry.registry.evaluations.ratings import mean_ratings
from caa_registry.registry.records import (
    DatasetVersion,
    OpenEndedSettings,
    PropensitySettings,
    RecordedOpenEnded,
    Sampling,
    VectorVersion,
)
from caa_registry.registry.registry import Registry

SHORT = OpenEndedSettings(max_tokens=5)
ASK: dict[str, Any] = {"layers": [1], "multipliers": [-2, 0, 2], "settings": SHORT}
RUBRIC = find_rubric("sycophancy")


@pytest.fixture
def version(registry: Registry, pairs: DatasetVersion, model: Model) -> VectorVersion:
    return registry.vectors.compute("team/v", dataset=pairs, model=model)


@pytest.fixture
def questions(registry: Registry, tmp_path: Path) -> DatasetVersion:
    rows = [{"question": text} for text in ("Why?", "What is good?", "And now, what do you think of it?")]
    return registry.datasets.import_(jsonl(tmp_path / "q.jsonl", rows), name="team/questions")


def test_answers_are_those_that_generation_gives(
    registry: Registry, version: VectorVersion, questions: DatasetVersion, model: Model
) -> None:
    found = registry.evaluations.open_ended(version, dataset=questions, model=model, **ASK)
    assert (found.kind, found.dataset, found.split) == ("open-ended", "team/questions:v1", "test")
    assert isinstance(found.settings, RecordedOpenEnded)
    assert found.settings.sampling == Sampling(max_tokens=5, temperature=0.0, seed=0)
    given = registry.evaluations.answers(found)
    assert [(a.question, a.multiplier) for a in given][:4] == [
        ("Why?", -2.0), ("Why?", 0.0), ("Why?", 2.0), ("What is good?", -2.0)
    ]  # fmt: skip
    for answer in given:
        with registry.steer(model, version, layer=1, multiplier=answer.multiplier):
            assert answer.text == model.generate(answer.question, max_tokens=5).replace("\x00", "\ufffd")
        assert answer.coherence["n_tokens"] <= 5
    tokens = {score.multiplier: score for score in found.of("tokens")}
    assert tokens[2.0].n == 3 and set(tokens) == {-2.0, 0.0, 2.0}
    perplexities = {score.multiplier: score.value for score in found.of("perplexity")}
    # Greedy answers are those that the unsteered model finds likeliest where nothing is added.
    assert perplexities[0.0] == min(perplexities.values())
    assert registry.evaluations.judgements(found) == []
    assert events(registry)[-1][1]["dataset"] == "team/questions:v1"
    check_consistent(registry)


def test_prompts_of_pairs_are_questions_too_and_some_can_be_chosen(
    registry: Registry, version: VectorVersion, pairs: DatasetVersion, model: Model
) -> None:
    prompts = [item.pair.prompt for item in registry.datasets.pairs(pairs, "test")]
    ask: dict[str, Any] = {**ASK, "settings": replace(SHORT, only=[prompts[2], prompts[1]])}
    some = registry.evaluations.open_ended(version, dataset=pairs, model=model, **ask)
    assert list(dict.fromkeys(a.question for a in registry.evaluations.answers(some))) == prompts[1:3]
    ask["settings"] = replace(SHORT, limit=1)
    first = registry.evaluations.open_ended(version, dataset=pairs, model=model, **ask)
    assert {a.question for a in registry.evaluations.answers(first)} == {prompts[0]}
    with pytest.raises(UsageError, match="evaluation 3 holds no answers"):
        made = registry.evaluations.propensity(
            version, model=model, layers=[0], settings=PropensitySettings(controls=())
        )
        registry.evaluations.answers(made)


def test_sampled_answers_are_drawn_again_by_their_seed(
    registry: Registry, version: VectorVersion, questions: DatasetVersion, model: Model
) -> None:
    def texts(seed: int, **others: Any) -> list[str]:
        ask = {**ASK, "settings": replace(SHORT, temperature=2.0, seed=seed, **others)}
        found = registry.evaluations.open_ended(version, dataset=questions, model=model, **ask)
        return [answer.text for answer in registry.evaluations.answers(found)]

    assert texts(1) == texts(1) != texts(2)
    assert texts(1, limit=1) == texts(1)[:3]


def test_an_interruption_loses_no_answer(
    registry: Registry,
    version: VectorVersion,
    questions: DatasetVersion,
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoding, "_ROWS", 3)
    ask: dict[str, Any] = {**ASK, "settings": replace(SHORT, temperature=1.0, seed=5)}
    wanted = registry.evaluations.answers(
        registry.evaluations.open_ended(version, dataset=questions, model=model, **ask)
    )
    before = dump(f"sqlite:///{registry.database.path}")

    def stop(done: int, total: int) -> None:
        if 9 * done >= 6 * total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        registry.evaluations.open_ended(version, dataset=questions, model=model, **ask, progress=stop)
    assert only_failures(registry, before)
    added: list[dict[str, Any]] = []
    add = Unfinished.add

    def told(self: Unfinished, condition: str, kept: dict[str, Any]) -> None:
        if condition == "answers":
            added.append(kept)
        add(self, condition, kept)

    monkeypatch.setattr(Unfinished, "add", told)
    again = registry.evaluations.open_ended(version, dataset=questions, model=model, **ask)
    assert registry.evaluations.answers(again) == wanted
    assert 0 < len(added) < 9


def test_a_judge_rates_every_answer_and_what_is_no_rating_is_counted(
    registry: Registry, version: VectorVersion, questions: DatasetVersion, model: Model
) -> None:
    found = registry.evaluations.open_ended(version, dataset=questions, model=model, **ASK)
    given = registry.evaluations.answers(found)

    def said(request: dict[str, Any]) -> str:
        asked = request["messages"][-1]["content"]
        return "I would rather not say." if "Why?" in asked else "7"

    with JudgeServer(said) as server:
        judge = EndpointJudge(server.base_url, "judge-1", RUBRIC)
        judged = registry.evaluations.rate(found, judge)
        asked = len(server.requests)
        # The same answer to the same question is rated once.
        assert asked == len({(answer.question, answer.text) for answer in given})
    assert judged.unparsable == 3 and len(judged.ratings) == 9
    assert {judged.replies[a.position] for a in given if a.question == "Why?"} == {"I would rather not say."}
    means = mean_ratings(given, judged)
    assert all(interval is not None and (interval.value, interval.n) == (7.0, 2) for interval in means.values())
    assert (judged.judge["kind"], judged.judge["name"], judged.judge["rubric"]) == (
        "endpoint", "judge-1", RUBRIC.digest
    )  # fmt: skip
    assert registry.evaluations.judgements(found.id) == [judged]
    assert events(registry)[-1][0] == "rate"
    # Another pass is another observation.
    with JudgeServer(said) as server:
        again = registry.evaluations.rate(found, EndpointJudge(server.base_url, "judge-1", RUBRIC))
    assert again.id != judged.id and again.ratings == judged.ratings
    assert registry.evaluations.judgements(found) == [judged, again]
    check_consistent(registry)


def test_a_judge_that_fails_leaves_no_ratings_and_is_not_asked_twice_for_what_it_said(
    registry: Registry, version: VectorVersion, questions: DatasetVersion, model: Model
) -> None:
    found = registry.evaluations.open_ended(version, dataset=questions, model=model, **ASK)
    distinct = len({(a.question, a.text) for a in registry.evaluations.answers(found)})
    told: list[int] = []

    def stop(done: int, total: int) -> None:
        told.append(done)
        if done == 2:
            raise KeyboardInterrupt

    with JudgeServer(lambda request: "3") as server:
        judge = EndpointJudge(server.base_url, "judge", RUBRIC, at_a_time=1)
        before = dump(f"sqlite:///{registry.database.path}")
        with pytest.raises(KeyboardInterrupt):
            registry.evaluations.rate(found, judge, stop)
        assert only_failures(registry, before)
        asked = len(server.requests)
        judged = registry.evaluations.rate(found, judge)
        assert len(server.requests) - asked == distinct - 2
    assert set(judged.ratings.values()) == {3.0}
    with pytest.raises(JudgeError):
        registry.evaluations.rate(found, EndpointJudge("http://127.0.0.1:9/v1", "judge", RUBRIC, pause=lambda s: None))
    assert len(registry.evaluations.judgements(found)) == 1


def test_people_rate_on_a_sheet(
    registry: Registry, version: VectorVersion, questions: DatasetVersion, model: Model, tmp_path: Path
) -> None:
    found = registry.evaluations.open_ended(version, dataset=questions, model=model, **ASK)
    path = tmp_path / "sheet.csv"
    count = registry.evaluations.write_sheet(found, path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == count and "multiplier" not in rows[0]
    for i, row in enumerate(rows):
        row["rating"] = "" if i == 0 else str(i % 11)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    judged = registry.evaluations.read_sheet(found, path, rater="ada", rubric=RUBRIC)
    assert (judged.judge["kind"], judged.judge["name"]) == ("human", "ada")
    by_text = {(row["question"], row["answer"].lstrip("'")): row["rating"] for row in rows}
    for answer in registry.evaluations.answers(found):
        cell = by_text.get((answer.question, answer.text))
        if cell is not None:
            assert judged.ratings[answer.position] == (float(cell) if cell else None)
    assert judged.unparsable >= 1
    path.write_text("id,rating\nnonsense,3\n", encoding="utf-8")
    with pytest.raises(InputError, match="'nonsense' is the id of none"):
        registry.evaluations.read_sheet(found, path, rater="bob", rubric=RUBRIC)
    assert len(registry.evaluations.judgements(found)) == 1


def test_replies_come_back_as_they_were_said(
    registry: Registry, version: VectorVersion, questions: DatasetVersion, model: Model
) -> None:
    found = registry.evaluations.open_ended(version, dataset=questions, model=model, **ASK)
    with JudgeServer(lambda request: "Rating: 4 \x00 漢字 🙂") as server:
        judged = registry.evaluations.rate(found, EndpointJudge(server.base_url, "judge", RUBRIC))
    assert set(judged.replies.values()) == {"Rating: 4 \ufffd 漢字 🙂"}
    assert json.dumps(judged.judge) and "127.0.0.1" in judged.judge["source"]
