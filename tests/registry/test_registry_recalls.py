"""Recall: exactly what descends from a pair, and what a recall does as long as it stands."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from registry.registry_support import events, jsonl, letters

from caa_registry.errors import UsageError
from caa_registry.models.model import Model
from caa_registry.pairs.curation.operations import Filter
from caa_registry.registry.opening import open as open_registry
from caa_registry.registry.records import OpenEndedSettings, PropensitySettings
from caa_registry.registry.registry import Registry


def fill(registry: Registry, folder: Path, model: Model) -> dict[str, int]:
    """Sets with and without one pair, vectors of them, and evaluations; the evaluations' numbers by name."""
    rows = letters(6)
    datasets = registry.datasets

    def add(name: str, behavior: str, **splits: list[object]) -> None:
        sources = {split: jsonl(folder / f"{name[5:]}-{split}.jsonl", held) for split, held in splits.items()}  # type: ignore[arg-type]
        datasets.import_(sources, name=name, behavior=behavior)

    others = letters(4, about="that")
    add("team/a", "one", generate=[*rows], test=[*others])
    add("team/a", "one", generate=[*rows[1:]], test=[*others])  # v2: without the pair
    add("team/asks", "two", generate=[*others[:3]], test=[*rows[:2]])  # the pair only in test, at row 0
    add("team/clean", "three", generate=[*letters(4, about="what")], test=[*letters(2, about="who")])
    datasets.curate(Filter("split == 'generate'"), "team/a:v1", name="team/derived")
    compute = registry.vectors.compute
    for name, dataset in (("a", "a:v1"), ("a2", "a:v2"), ("asks", "asks"), ("clean", "clean"), ("derived", "derived")):
        compute(f"team/{name}-v", dataset=f"team/{dataset}", model=model)
    compute("team/a-test-v", dataset="team/a:v1", model=model, split="test")
    registry.vectors.normalize(["team/a-v", "team/clean-v"])

    def score(vector: str, dataset: str, split: str = "test", rows: str = "all") -> int:
        found = registry.evaluations.propensity(
            vector,
            dataset=dataset,
            split=split,
            model=model,
            layers=[0],
            settings=PropensitySettings(controls=(), rows=rows),  # type: ignore[arg-type]
        )
        return found.id

    return {
        "a on clean": score("team/a-v", "team/clean"),
        "a2 on a": score("team/a2-v", "team/a:v1"),
        "a2 on a's generate": score("team/a2-v", "team/a:v1", "generate"),
        "clean on asks": score("team/clean-v", "team/asks"),
        "clean on asks, even": score("team/clean-v", "team/asks", rows="even"),
        "clean on asks, odd": score("team/clean-v", "team/asks", rows="odd"),
        "clean on clean": score("team/clean-v", "team/clean"),
        "normalized on clean": score("team/clean-v-normalized", "team/clean"),
        "a's test on clean": score("team/a-test-v", "team/clean"),
    }


def test_what_descends_from_one_pair(url: str, tmp_path: Path, model: Model) -> None:
    with open_registry(url, actor="ada", create=False) as registry:
        numbers = fill(registry, tmp_path, model)
        digest = registry.datasets.pairs("team/a:v1")[0].digest
        reached = registry.datasets.recall(digest[7:19], why="wrong", dry_run=True)
        assert registry.datasets.get("team/a:v1").recalled == ""
        assert registry.datasets.recall(digest, why="the label is wrong") == reached
        assert reached.datasets == ["team/a:v1", "team/asks:v1", "team/derived:v1"]
        # Both vectors of a normalization are made of both.
        vectors = ["team/a-v", "team/a-v-normalized", "team/clean-v-normalized", "team/derived-v"]
        assert reached.vectors == [f"{name}:v1" for name in vectors]
        asked = {"a on clean", "a2 on a's generate", "clean on asks", "clean on asks, even", "normalized on clean"}
        assert {name for name, number in numbers.items() if number in reached.evaluations} == asked

        marked = {v.name for v in registry.vectors.ls() if v.quarantined}
        assert marked == set(vectors)
        assert {e.id for e in registry.evaluations.ls() if e.quarantined} == set(reached.evaluations)
        assert registry.evaluations.get(numbers["clean on clean"]).quarantined == ""
        assert "the label is wrong" in registry.vectors.get("team/a-v").quarantined
        assert {d.name for d in registry.datasets.ls() if d.recalled} == {"team/asks", "team/derived"}

        found = registry.datasets.blame(digest[7:19])
        assert list(found.vectors) == list(reached.vectors) and list(found.evaluations) == list(reached.evaluations)
        assert [one.why for one in found.recalls] == ["the label is wrong"]
        assert [(v, s) for v, s, _ in found.versions] == [
            ("team/a:v1", "generate"), ("team/asks:v1", "test"), ("team/derived:v1", "generate"),
        ]  # fmt: skip
        with pytest.raises(UsageError, match="recalled already: the label is wrong"):
            registry.datasets.recall(digest, why="again")
        registry.datasets.recall(digest, why="it was right", lift=True)
        assert not any(v.quarantined for v in registry.vectors.ls())
        with pytest.raises(UsageError, match="is not recalled"):
            registry.datasets.recall(digest, why="again", lift=True)
        assert [action for action, _ in events(registry)][-2:] == ["recall", "lift-recall"]
        # And once more: the newest word counts.
        registry.datasets.recall(digest, why="wrong after all")
        assert "wrong after all" in registry.vectors.get("team/a-v").quarantined


def test_answers_descend_from_the_pairs_whose_prompts_were_asked(
    registry: Registry, tmp_path: Path, model: Model
) -> None:
    asked = registry.datasets.import_(jsonl(tmp_path / "a.jsonl", letters(4)), name="team/a")
    own = registry.datasets.import_(jsonl(tmp_path / "b.jsonl", letters(4, about="that")), name="team/b")
    vector = registry.vectors.compute("team/v", dataset=own, model=model, layers=[0])
    items = registry.datasets.pairs(asked)
    ask = {"dataset": asked, "split": "generate", "model": model, "layers": [0], "multipliers": [0]}
    first, last = (
        registry.evaluations.open_ended(vector, settings=settings, **ask).id
        for settings in (
            OpenEndedSettings(max_tokens=1, limit=2),
            OpenEndedSettings(max_tokens=1, only=[items[3].pair.prompt]),
        )
    )
    for place, reached in enumerate(([first], [first], [], [last])):
        assert registry.datasets.recall(items[place].digest, why="wrong", dry_run=True).evaluations == reached


def test_what_descends_from_a_dataset(registry: Registry, tmp_path: Path, model: Model) -> None:
    numbers = fill(registry, tmp_path, model)
    reached = registry.datasets.recall("team/a:v1", why="no licence")
    # The version itself, what operations made of it, whatever the split; not its neighbour v2.
    assert reached.datasets == ["team/a:v1", "team/derived:v1"]
    names = ["a-test-v", "a-v", "a-v-normalized", "clean-v-normalized", "derived-v"]
    assert reached.vectors == [f"team/{name}:v1" for name in names]
    asked = {"a on clean", "a2 on a", "a2 on a's generate", "normalized on clean", "a's test on clean"}
    assert {name for name, number in numbers.items() if number in reached.evaluations} == asked
    registry.datasets.recall("team/a:v1", why="it has one", lift=True)
    assert not any(e.quarantined for e in registry.evaluations.ls())


def test_a_quarantined_vector_warns(
    registry: Registry, tmp_path: Path, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    numbers = fill(registry, tmp_path, model)
    digest = registry.datasets.pairs("team/a:v1")[0].digest
    with caplog.at_level(logging.WARNING, "caa_registry"):
        with registry.steer(model, "team/a-v", layer=0):
            pass
        assert caplog.records == []
        stale = registry.vectors.get("team/a-v")
        registry.datasets.recall(digest, why="wrong")
        for use in (
            lambda: registry.steer(model, stale, layer=0).__enter__(),
            lambda: registry.evaluations.propensity(
                stale, dataset="team/clean", model=model, layers=[0], settings=PropensitySettings(controls=())
            ),
            lambda: registry.vectors.compute("team/new-v", dataset="team/a:v1", model=model),
        ):
            caplog.clear()
            use()
            assert f"pair {digest[7:19]} was recalled: wrong" in caplog.text
        caplog.clear()
        registry.vectors.compute("team/new-test-v", dataset="team/a:v1", model=model, split="test")
        registry.vectors.compute("team/new-a2-v", dataset="team/a:v2", model=model)
        assert caplog.text == ""
    assert registry.vectors.get("team/new-v").quarantined and numbers


@pytest.mark.parametrize("what", ["ffffffffffff", "sha256:", "sha256:zz"])
def test_a_pair_that_is_not_there(registry: Registry, tmp_path: Path, what: str) -> None:
    registry.datasets.import_(jsonl(tmp_path / "a.jsonl", letters(4)), name="team/a")
    with pytest.raises(UsageError):
        registry.datasets.recall(what, why="x")
    with pytest.raises(UsageError, match="needs a reason"):
        registry.datasets.recall("team/a", why=" ")
