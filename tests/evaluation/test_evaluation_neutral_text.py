"""Neutral text: what ships, and what a user's own file gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from caa_registry.errors import InputError, NotFoundError, UsageError
from caa_registry.evaluation.side_effects.neutral_text import (
    NeutralText,
    Passage,
    packaged_sets,
    packaged_text,
    text_of_file,
)

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def test_the_english_passages_are_forty_different_ones_of_a_length() -> None:
    text = packaged_text("english")
    assert len(text.passages) == 40
    assert len({passage.id for passage in text.passages}) == len({passage.text for passage in text.passages}) == 40
    assert all(60 <= len(passage.text.split()) <= 120 for passage in text.passages)
    kinds = {passage.id.partition("-")[0] for passage in text.passages}
    assert kinds == {"encyclopedia", "howto", "narrative", "dialogue", "code", "numbers"}


def test_the_demo_models_passages_are_of_its_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import demo_grammar
    from demo_behaviors import BEHAVIORS

    behaviors: dict[str, Any] = {behavior.name: behavior for behavior in BEHAVIORS}
    text = packaged_text("demo")
    assert len(text.passages) == len({passage.text for passage in text.passages}) == 12
    for passage in text.passages:
        found = demo_grammar.sides(behaviors[passage.id.partition("-")[0]], passage.text)
        assert len(found) == 12 and None not in found and {0, 1} <= set(found)


def test_an_unknown_set_says_which_there_are() -> None:
    assert packaged_sets() == ["demo", "english"]
    with pytest.raises(NotFoundError, match="no neutral text 'french'") as caught:
        packaged_text("french")
    assert caught.value.hint == "Sets: demo, english."


def test_the_digest_is_that_of_the_texts_in_order() -> None:
    one, other = Passage("1", "caf\u00e9"), Passage("2", "tea")
    digest = NeutralText("a", (one, other)).digest
    assert NeutralText("b", (Passage("x", "cafe\u0301"), other)).digest == digest
    assert NeutralText("a", (other, one)).digest != digest
    assert NeutralText("a", (one,)).digest != digest
    assert packaged_text("english").digest != packaged_text("demo").digest


@pytest.mark.parametrize(
    "content",
    [
        "One line,\nand one more.\n\n    indented\nTwo.\n",
        "\ufeffOne line,\r\nand one more.\r\n\r\n \t\r\n\r\n    indented\r\nTwo.",
        "\n\n  \nOne line,\nand one more.\n\n\n\n    indented\nTwo.\n\n \n",
    ],
)
def test_paragraphs_of_a_file_are_passages(content: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(content.encode("utf-8"))
    text = text_of_file(path)
    assert text.name == "mine.txt"
    assert text.passages == (Passage("1", "One line,\nand one more."), Passage("2", "    indented\nTwo."))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b" \n\n", "mine.txt: the file is empty"),
        (b"\xef\xbb\xbf\n", "mine.txt: it holds no text"),
        (b"a\n\nb\n\na\n", "mine.txt: paragraph 3 is the same as paragraph 1"),
        (b"caf\xe9", "mine.txt: not UTF-8: byte 0xe9 at offset 3, line 1"),
        (b"a\x00b", "mine.txt: a text holds a NUL character"),
    ],
)
def test_a_file_that_gives_no_passages_says_why(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(said)):
        text_of_file(path)


def test_a_missing_file_names_the_packaged_sets(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no file") as caught:
        text_of_file(tmp_path / "none.txt")
    assert "demo, english" in caught.value.hint
    with pytest.raises(UsageError, match="is a folder"):
        text_of_file(tmp_path)
