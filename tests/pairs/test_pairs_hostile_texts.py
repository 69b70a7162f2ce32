"""YAML, templates and rows of strangers: nothing in them takes without bound."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.limited import MOST_ABOVE, measured, peaks

from caa_registry.errors import InputError
from caa_registry.pairs.curation.forms import ToFreeForm
from caa_registry.pairs.curation.operations import perform
from caa_registry.pairs.curation.templates import read_template
from caa_registry.pairs.lint.lint import lint
from caa_registry.pairs.record import Pair, PairItem
from caa_registry.pairs.yaml_text import yaml_value

_LAUGHS = "\n".join(["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12))])
_MERGES = "\n".join(
    ["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 12))]
)
YAML = {
    "aliases": _LAUGHS,
    "merged aliases": _MERGES,
    "aliases of a long text": f"a: &a {'x' * 1_000_000}\nb: [{', '.join(['*a'] * 1000)}]",
    "itself": "a: &a [*a]",
    "deep": "[" * 100_000,
    "deep blocks": "\n".join(" " * i + "-" for i in range(200)),
    "long number": "9" * 5000,
    "sexagesimal": "1" + ":1" * 50_000,
    "no date": "2024-99-99",
    "no binary": "!!binary x",
    "tag": "!!python/object/apply:os.system [ls]",
    "odd key": "? {a: b}\n: c",
    "null": "a: \0",
    "quoted sexagesimal": '!!int "' + "1" + ":1" * 150_000 + '"',
    "quoted fraction": '!!float "' + "1" + ":1" * 150_000 + '.0"',
    "many values": "- a\n" * 600_000,
    "values": "- a\n" * 200_000,
    "documents": "---\n" * 200_000,
    "keys of one hash": "\n".join(f"{i * (2**61 - 1)}: 1" for i in range(20_000)),
    "hexadecimal": "name: 0x" + "f" * 6000,
}
LONG = {
    "white space": " " * 300_000 + "x",
    "lines": "\n" * 300_000 + "x",
    "stops": "." * 300_000 + "x",
    "answers": "answer is " * 30_000 + "x",
    "choices": "\n (A) a" * 50_000,
    "letters": "A) " * 100_000,
    "nt": "n" * 300_000,
    "quotes": "\"'" * 150_000,
    "markers": "<|a" * 100_000,
    "words": "word " * 300_000,
    "choices behind a long indent": " >" * 75_000 + "A) x B) y " * 30_000,
}


def _refused(text: str) -> str:
    try:
        yaml_value(text, "stranger.yaml")
    except InputError as error:
        assert error.hint
        return error.message
    return "read"


def _linted(text: str) -> str:
    sides = [(text, "yes it is", "no it is not"), ("Is it?\n (A) x\n (B) y\n" + text, "(A)", "(B)"), ("?", text, "no")]
    items = [PairItem(Pair(*texts), metadata={"row": i}) for i, texts in enumerate(sides)]
    perform(ToFreeForm(), [items])
    return f"{len(lint(items).findings)} findings"


def report() -> None:
    """In a child: all of the above, after harmless ones of the same length."""
    hostile: dict[str, Callable[[], object]] = {
        **{name: lambda text=text: _refused(text) for name, text in YAML.items()},  # type: ignore[misc]
        **{name: lambda text=text: _linted(text) for name, text in LONG.items()},  # type: ignore[misc]
    }
    measured(lambda: (_refused("a: [1, 2]"), _linted("Some words, such as these. " * 60_000)), hostile)


@pytest.mark.long
def test_no_text_takes_more_than_its_share_of_memory_and_time() -> None:
    found = peaks("pairs.test_pairs_hostile_texts:report")
    assert len(found["outcomes"]) == len(YAML) + len(LONG)
    for name in YAML:
        assert found["outcomes"][name].startswith("stranger.yaml: "), name
    for name in LONG:
        assert found["outcomes"][name].endswith("findings"), name
    assert found["above"] < MOST_ABOVE


def test_aliases_of_a_sane_size_are_read() -> None:
    text = "base: &base {positive: kind, negative: unkind}\ncontrasts: [*base, *base]\nmore: {<<: *base, x: 1}"
    read = yaml_value(text, "x")
    assert read["contrasts"] == [read["base"]] * 2 and read["more"] == {**read["base"], "x": 1}


def test_a_template_makes_no_more_text_than_can_be_held() -> None:
    values = "[" + ", ".join(f"v{i}" for i in range(1000)) + "]"
    long = "x" * 100_000
    with pytest.raises(InputError, match="characters, more than 500,000,000"):
        read_template(f"positive: '{{a}} {long}'\nnegative: n {{b}}\nslots: {{a: {values}, b: {values}}}", "t")
    with pytest.raises(InputError, match="characters, more than"):
        read_template(f"positive: '{{a}}'\nnegative: n {{b}}\nslots: {{a: [{long}], b: {values}, c: {values}}}", "t")
