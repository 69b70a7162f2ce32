"""The packaged seed sets, whichever are there: complete, balanced, and without overlap."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from caa_registry.errors import InputError, NotFoundError, UsageError
from caa_registry.pairs.answers import choices, form_of, letter_of
from caa_registry.pairs.record import PairItem
from caa_registry.pairs.sources import load, load_splits, seed_sets, seeds

# A set is there when both its files are.
NAMES = [
    path.stem
    for folder in seeds.folders()
    for path in sorted(folder.glob("*.jsonl"))
    if path.with_suffix(".md").is_file()
]

DIMENSIONS = ("sentiment", "honesty", "formality", "caution")
AB_SETS = (
    "sycophancy",
    "refusal",
    "hallucination",
    "myopic-reward",
    "survival-instinct",
    "ai-coordination",
    "corrigibility",
)

ROWS = (
    '{"split": "generate", "prompt": "one", "positive": "a", "negative": "b"}\n'
    '{"split": "test", "prompt": "two", "positive": "a", "negative": "b"}\n'
)
CARD = """---
name: tiny
behavior: being small
positive: is small
negative: is not
form: free-form
licence: MIT
source: written here
---

# Tiny
"""


def items_of(name: str) -> list[PairItem]:
    return [item for item in load(f"seed:{name}").items if isinstance(item, PairItem)]


@pytest.mark.parametrize("name", NAMES)
def test_a_set_loads_with_its_card(name: str) -> None:
    (described,) = [described for described in seed_sets() if described.name == name]
    imported = load(f"seed:{name}")
    assert imported.kind == "pairs"
    assert imported.licence == described.licence
    assert imported.source.uri == f"seed:{name}"
    assert described.counts == Counter(item.split for item in imported.items)
    assert all((described.behavior, described.positive, described.negative, described.form, described.source))
    assert described.form in ("A/B", "yes-no", "free-form")
    assert {form_of(item.pair) for item in items_of(name)} == {described.form}


@pytest.mark.parametrize("name", NAMES)
def test_a_set_has_no_repeats_and_keeps_its_splits_apart(name: str) -> None:
    items = items_of(name)
    assert len({item.digest for item in items}) == len(items)
    prompts = {split: {item.pair.prompt for item in items if item.split == split} for split in ("generate", "test")}
    assert not (prompts["generate"] & prompts["test"]) - {""}


@pytest.mark.parametrize("name", NAMES)
def test_the_letters_of_a_set_are_balanced_in_each_split(name: str) -> None:
    items = [item for item in items_of(name) if form_of(item.pair) == "A/B"]
    for split in {item.split for item in items}:
        letters = Counter(letter_of(item.pair.positive) for item in items if item.split == split)
        assert set(letters) == {"A", "B"} and abs(letters["A"] - letters["B"]) <= 1, (split, letters)
    for item in items:
        assert [choice.letter for choice in choices(item.pair.prompt)] == ["A", "B"]
        assert {letter_of(item.pair.positive), letter_of(item.pair.negative)} == {"A", "B"}


def test_the_sets_that_were_promised_are_there() -> None:
    counts = {described.name: described.counts for described in seed_sets()}
    for name in AB_SETS:
        assert counts.get(name, {}).get("generate", 0) >= 44 and counts[name].get("test", 0) >= 20, name
    for name in DIMENSIONS:
        assert counts.get(name, {}).get("generate", 0) >= 20, name


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tiny.jsonl").write_text(ROWS, encoding="utf-8")
    (tmp_path / "tiny.md").write_text(CARD, encoding="utf-8")
    monkeypatch.setattr(seeds, "folders", lambda: [tmp_path])
    return tmp_path


def test_a_seed_set_has_its_own_splits(tiny: Path) -> None:
    imported = load("seed:tiny")
    assert [item.split for item in imported.items] == ["generate", "test"]
    assert imported.licence == "MIT"
    assert load("seed:tiny", licence="mine").licence == "mine"
    (described,) = seed_sets()
    assert described.counts == {"generate": 1, "test": 1} and described.card == tiny / "tiny.md"
    with pytest.raises(UsageError, match="own splits"):
        load("seed:tiny", split="generate")
    with pytest.raises(UsageError, match="own splits"):
        load_splits({"generate": "seed:tiny"})
    with pytest.raises(UsageError):
        load("seed:tiny", format="jsonl")


def test_an_unknown_set_names_its_neighbours(tiny: Path) -> None:
    with pytest.raises(NotFoundError, match="no seed set 'tinny'") as caught:
        load("seed:tinny")
    assert "seed:tiny" in caught.value.hint
    with pytest.raises(NotFoundError) as caught:
        load("seed:../tiny")
    with pytest.raises(NotFoundError) as caught:
        load("seed:zzz")
    assert "Seed sets: tiny." in caught.value.hint


@pytest.mark.parametrize(
    ("card", "said"),
    [
        (CARD.replace("licence: MIT\n", ""), "lacks licence"),
        (CARD.replace("name: tiny", "name: other"), "names the set 'other'"),
        ("# Tiny\n", "no front matter"),
        ("---\nname: tiny\n", "no front matter"),
        ("---\n- a\n---\n", "no front matter"),
        ("---\n{\n---\n", "not YAML"),
    ],
)
def test_a_card_that_is_not_complete_is_refused(tiny: Path, card: str, said: str) -> None:
    (tiny / "tiny.md").write_text(card, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        seed_sets()


def test_a_set_without_a_card_is_refused(tiny: Path) -> None:
    (tiny / "tiny.md").unlink()
    with pytest.raises(InputError, match="seed:tiny has no card"):
        load("seed:tiny")


def test_a_wheel_reads_its_own_sets_and_a_checkout_those_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "caa_registry"
    demo = package / "assets" / "demo_pairs"
    for folder in (tmp_path / "seed_pairs", demo):
        folder.mkdir(parents=True)
    monkeypatch.setattr("caa_registry.package._FOLDER", package)
    monkeypatch.setattr(seeds, "ASSETS", package / "assets")
    assert seeds.folders() == [tmp_path / "seed_pairs", demo]
    (package / "seed_pairs").mkdir()
    assert seeds.folders() == [package / "seed_pairs", demo]
