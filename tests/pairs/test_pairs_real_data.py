"""The paper's and Anthropic's own files, read in place: counts, cleaning and notes are known from the papers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from caa_registry.pairs.answers import common_form, letter_of
from caa_registry.pairs.record import Imported, PairItem, dataset_digest
from caa_registry.pairs.sources import load, load_splits, shortened


def pairs_of(imported: Imported) -> list[PairItem]:
    return [item for item in imported.items if isinstance(item, PairItem)]


# behavior, generate pairs, matching letters, test pairs, open-ended questions (the paper's tables)
BEHAVIORS = [
    ("corrigible-neutral-HHH", 290, {"A": 148, "B": 142}, 50, 50),
    ("sycophancy", 1000, {"A": 489, "B": 511}, 50, 53),
    ("refusal", 408, {"A": 192, "B": 216}, 50, 50),
    ("survival-instinct", 903, {"A": 558, "B": 257, "C": 60, "D": 15, "E": 8, "F": 1, "G": 3, "H": 1}, 50, 50),
]


@pytest.mark.parametrize(("behavior", "generate", "letters", "test", "questions"), BEHAVIORS)
def test_the_papers_sets_have_the_papers_counts(
    caa_data: Path, behavior: str, generate: int, letters: dict[str, int], test: int, questions: int
) -> None:
    sources = {
        "generate": str(caa_data / "generate" / behavior / "generate_dataset.json"),
        "test": str(caa_data / "test" / behavior / "test_dataset_ab.json"),
    }
    imported = load_splits(sources)
    items = pairs_of(imported)
    assert Counter(item.split for item in items) == {"generate": generate, "test": test}
    # The paper's one item that answers with a free text has no letter.
    found = Counter(letter_of(item.pair.positive) for item in items if item.split == "generate")
    assert {letter: found[letter] for letter in letters} == letters
    assert imported.source.format == "caa"
    assert [file.rows for file in imported.source.files] == [generate, test]
    assert not imported.licence
    asked = load(str(caa_data / "test" / behavior / "test_dataset_open_ended.json"))
    assert (asked.kind, len(asked.items)) == ("questions", questions)
    assert {item.split for item in asked.items} == {"test"}
    assert not {item.digest for item in items if item.split == "test"} & {
        item.digest for item in items if item.split == "generate"
    }


def test_the_unlike_items_of_survival_instinct_are_kept_and_reported(caa_data: Path) -> None:
    imported = load(str(caa_data / "generate" / "survival-instinct" / "generate_dataset.json"))
    many, beyond = imported.notes
    assert many.startswith("239 items list more than two choices: rows 4, 5, 10, ")
    assert beyond.startswith("88 items match a letter beyond A and B: rows 25, 36, ")
    rows = [int(row) for row in many.partition(": rows ")[2].split(", ")]
    items = pairs_of(imported)
    assert rows == [item.metadata["row"] for item in items if "choices" in item.metadata]
    assert len(rows) == 239 and all(items[row - 1].metadata["choices"] > 2 for row in rows)
    assert [item.metadata["row"] for item in items] == list(range(1, 904))
    assert shortened(many) == "239 items list more than two choices: rows 4, 5, 10, 13, 24 and 234 more"


def test_the_papers_sets_are_the_cleaned_anthropic_files(caa_data: Path, anthropic_data: Path) -> None:
    raw = anthropic_data / "advanced-ai-risk" / "human_generated_evals"
    for behavior in ("corrigible-neutral-HHH", "survival-instinct"):
        original = Counter(item.digest for item in load(str(raw / f"{behavior}.jsonl")).items)
        paper = Counter(
            item.digest
            for file in (f"generate/{behavior}/generate_dataset.json", f"test/{behavior}/test_dataset_ab.json")
            for item in load(str(caa_data / file)).items
        )
        assert paper == original  # generate and test together are the whole file


def test_persona_files_are_yes_and_no_with_their_statement(anthropic_data: Path) -> None:
    imported = load(str(anthropic_data / "persona" / "agreeableness.jsonl"))
    items = pairs_of(imported)
    assert imported.source.format == "anthropic" and len(items) == 1000
    assert common_form(item.pair for item in items) == "yes-no"
    assert {item.pair.positive for item in items} == {"Yes", "No"}
    assert all(item.metadata["statement"] and 0 < item.metadata["label_confidence"] <= 1 for item in items)


@pytest.mark.parametrize(
    ("file", "letters", "categories", "first"),
    [
        ("mmlu/mmlu.json", {"A": 299, "B": 271}, 57, "abstract_algebra"),
        ("truthfulqa/truthful_qa.json", {"A": 419, "B": 398}, 32, "Misconceptions"),
    ],
)
def test_multiple_choice_is_the_correct_letter_against_the_other(
    caa_data: Path, file: str, letters: dict[str, int], categories: int, first: str
) -> None:
    source = str(caa_data / "test" / file)
    imported = load(source)
    items = pairs_of(imported)
    assert imported.source.format == "multiple-choice" and not imported.notes
    assert Counter(letter_of(item.pair.positive) for item in items) == letters
    assert Counter(letter_of(item.pair.negative) for item in items) == {"A": letters["B"], "B": letters["A"]}
    assert len({item.metadata["category"] for item in items}) == categories
    assert items[0].metadata["category"] == first and {item.split for item in items} == {"test"}
    mapped = load(source, columns={"positive": "correct", "negative": "incorrect"}, format="json")
    assert mapped.source.format == "json" and len(mapped.items) == len(items)


def test_the_same_file_has_the_same_digest_however_it_is_named(caa_data: Path) -> None:
    path = caa_data / "test" / "refusal" / "test_dataset_ab.json"
    first = load(str(path), split="test")
    again = load(str(path.parent / ".." / path.parent.name / path.name), split="test", format="caa")
    assert dataset_digest(first.kind, first.items) == dataset_digest(again.kind, again.items)
