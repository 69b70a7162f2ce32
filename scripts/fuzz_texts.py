"""Targets of ``check_fuzz.py``: what people and programs send back: expressions, sheets, replies, recipes, YAML."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from caa_registry.evaluation.open_ended import human_ratings
from caa_registry.evaluation.open_ended.endpoint_key import JudgeKey
from caa_registry.evaluation.open_ended.endpoint_replies import Response, pause_asked_for, refusal, reply_of
from caa_registry.evaluation.open_ended.judging import Answered, rated
from caa_registry.evaluation.open_ended.rubrics import find_rubric, packaged_rubrics, read_rubric
from caa_registry.pairs import review_sheet
from caa_registry.pairs.curation.expression import compiled
from caa_registry.pairs.curation.templates import Expand, read_template
from caa_registry.pairs.record import Pair, PairItem
from caa_registry.pairs.source import Source, SourceFile
from caa_registry.pairs.sources.files import decoded, read_file
from caa_registry.pairs.sources.json_rows import parse_json
from caa_registry.pairs.sources.mappings import read_mapping
from caa_registry.registry.datasets.recipe import read_recipe


class Target(NamedTuple):
    """What is tried: ``sound`` inputs, and what reads one; it may raise ``CaaError`` and nothing else."""

    name: str
    sound: tuple[bytes, ...]
    read: Callable[[bytes], object]


_ROWS = [
    PairItem(Pair("Is it so?\n (A) Yes\n (B) No", "(A)", "(B)"), "test", {"row": 1, "category": "x", "tags": ["a"]}),
    PairItem(Pair("Was it?", "It was.", "It was not.", "Be brief."), metadata={"row": 2}),
]
_ANSWERS = [Answered(f"Question {i}?", f'Answer "{i}",\nin two lines') for i in range(3)]
_KEY = JudgeKey("sk-only-for-tests", "CAA_JUDGE_KEY", "It was given CAA_JUDGE_KEY.", loopback=True)
_DIGEST = "sha256:" + "0" * 64
_EXPRESSIONS = (
    b"choices == 2 and words(question) < 60",
    b"split == 'test' or not matches('^was[a-z]{1,3}', lower(prompt))",
    b"meta('category') in {'x', 'y'} and len([c for c in prompt if c == '?']) > 1",
    b"f'{split}-{letter:>3}' == 'test-A' and '%s' % letter * 3 + positive[1:-1] != prompt",
    b"(2 ** 10 - 3) // 4 % 5 / 6 > -1.5 or (choices == 2) & (letter == 'A')",
)
_TEXTS = {"dataset": "a/b", "behavior": "x", "message": "", "licence": "MIT", "digest": _DIGEST}
_FILLED = {"positive": "{a}", "negative": "no {a}", "contrasts": [], "slots": {"a": ["x", "y"]}}
_RECIPE = {
    "recipe": 1,
    "steps": [
        {
            **_TEXTS,
            "import": Source("pairs.jsonl", "jsonl", (SourceFile("pairs.jsonl", _DIGEST, "test", 2),)).to_json(),
        },
        {**_TEXTS, "operation": "expand", "parameters": {"template": _FILLED}, "inputs": []},
        {**_TEXTS, "operation": "filter", "parameters": {"expression": "choices == 2"}, "inputs": [0]},
    ],
}
_TEMPLATE = b"""positive: "Pretend you are {positive} person. {statement}"
negative: "Pretend you are {negative} person. {statement}"
contrasts:
  - {positive: an honest, negative: a dishonest}
slots:
  statement: [&a "I saw the fire", "The bridge is old", *a]
"""


def _expression(data: bytes) -> None:
    holds = compiled(data.decode("utf-8", "replace"))
    for row in _ROWS:
        holds(row)


def _reply(data: bytes) -> None:
    text = rated(0, reply_of(Response(200, data), "the judge", _KEY)).reply
    text.encode()


def _refusal(data: bytes) -> None:
    for status in (301, 400, 401, 404, 429, 500):
        str(refusal(Response(status, data, data.decode("latin-1")), "the judge", _KEY))
    pause_asked_for(data.decode("latin-1"), 1.0)


def _recipe(path: Path) -> None:
    read_recipe(parse_json(decoded(read_file(path)), source="a recipe"), "a recipe")


def _template(data: bytes) -> None:
    Expand(read_template(data.decode("utf-8", "replace"), "a template")).run([])


def _file(read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def written(data: bytes) -> object:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sent.csv"
            path.write_bytes(data)
            return read(path)

    return written


def _written(write: Callable[[Path], object]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "sent.csv")
        return (Path(folder) / "sent.csv").read_bytes()


def targets() -> list[Target]:
    reviews = {item.digest: ("accepted", "good, as it is") for item in _ROWS}
    rubric = packaged_rubrics()[0]
    matter = "\n".join(
        f"{name}: {json.dumps(value)}" for name, value in asdict(rubric).items() if value and name != "text"
    )
    mappings = Path(__file__).resolve().parents[1] / "caa_registry" / "assets" / "mappings"
    completion = {"choices": [{"message": {"role": "assistant", "content": "Rating: 7.5 out of 10"}}]}
    return [
        Target("expressions", _EXPRESSIONS, _expression),
        Target(
            "review sheets",
            (_written(lambda path: review_sheet.write_sheet(path, _ROWS, reviews)),),
            _file(review_sheet.read_sheet),
        ),
        Target(
            "rating sheets",
            (_written(lambda path: human_ratings.write_sheet(path, _ANSWERS, 0)).replace(b",\r\n", b",7.5\r\n"),),
            _file(lambda path: human_ratings.read_sheet(path, _ANSWERS)),
        ),
        Target(
            "judge replies",
            (
                json.dumps(completion).encode(),
                b'{"choices": [{"message": {"content": [{"type": "text", "text": "7/10"}]}}]}',
            ),
            _reply,
        ),
        Target(
            "judge refusals",
            (b'{"error": {"message": "slow down", "code": 429}}', b"Wed, 21 Oct 2015 07:28:00 GMT", b"12.5"),
            _refusal,
        ),
        Target("recipes", (json.dumps(_RECIPE).encode(),), _file(_recipe)),
        Target(
            "mappings",
            tuple(path.read_bytes() for path in sorted(mappings.glob("*.yaml"))),
            lambda data: read_mapping(data.decode("utf-8", "replace"), "a mapping"),
        ),
        Target("templates", (_TEMPLATE,), _template),
        Target("rubrics", (f"---\n{matter}\n---\n{find_rubric(rubric.name).text}\n".encode(),), _file(read_rubric)),
    ]
