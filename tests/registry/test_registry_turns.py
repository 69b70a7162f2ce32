"""Pairs with turns before their prompt: stored, found again, shown, and computed from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from catalog.registry_fixtures import DIALECTS, empty_postgres
from cli.command_line import caa
from registry.registry_support import Row, jsonl
from sqlalchemy import text
from support.plain_forward import hidden_states
from support.tiny_models import CHAT, TinyModels

from caa_registry.catalog.database import Database
from caa_registry.catalog.schema import migrations_folder
from caa_registry.catalog.upgrade import upgrade
from caa_registry.evaluation.propensity import prepare, score
from caa_registry.models.model import Model
from caa_registry.models.rendering.prompts import Example, Template
from caa_registry.models.rendering.token_checks import token_findings
from caa_registry.pairs.lint.rows import rows_of
from caa_registry.pairs.record import Pair, PairItem
from caa_registry.pairs.turns import Turn, turns_json
from caa_registry.registry.evaluations.propensity.request import _examples
from caa_registry.registry.opening import open as open_registry
from caa_registry.registry.registry import Registry


def messages(i: int, turns: int = 2) -> list[dict[str, str]]:
    said = [{"role": ("user", "assistant")[n % 2], "content": f"Is it {n} or {i}?"} for n in range(turns)]
    return [*said, {"role": "user", "content": f"Is tea {i} good?\n (A) Yes\n (B) No"}]


def rows(n: int = 4) -> list[Row]:
    """Pairs of none, two and four turns, the matching letter in turn A and B."""
    return [
        {
            "prompt": messages(i, turns=2 * (i % 3)),
            "chosen": [{"role": "assistant", "content": "(A)" if i % 2 else "(B)"}],
            "rejected": [{"role": "assistant", "content": "(B)" if i % 2 else "(A)"}],
        }
        for i in range(n)
    ]


def pairs(n: int = 4) -> list[Pair]:
    """The same as a person would write them down."""
    return [
        Pair(
            row["prompt"][-1]["content"],
            row["chosen"][0]["content"],
            row["rejected"][0]["content"],
            turns=tuple(Turn(said["role"], said["content"]) for said in row["prompt"][:-1]),
        )
        for row in rows(n)
    ]


@pytest.fixture
def chat(tiny: TinyModels) -> Model:
    return tiny("llama", chat=CHAT, max_position_embeddings=512)


def test_turns_are_stored_once_and_found_again(url: str, tmp_path: Path) -> None:
    with open_registry(url, actor="ada", create=False) as registry:
        version = registry.datasets.import_(jsonl(tmp_path / "a.jsonl", rows()), name="team/tea")
        assert [item.pair for item in registry.datasets.pairs("team/tea")] == pairs()
        exported = tmp_path / "b.jsonl"
        registry.datasets.export(version, exported)
        again = registry.datasets.import_(str(exported), name="team/other")
        assert again.digest == version.digest
        assert registry.datasets.blame(pairs()[1].digest[7:27]).pair == pairs()[1]
        short = registry.datasets.import_(jsonl(tmp_path / "c.jsonl", rows(3)), name="team/tea")
        assert [item.pair for item in registry.datasets.diff(version, short).removed] == pairs()[3:]
        with registry.database.read() as session:
            stored = session.execute(text("SELECT count(*), count(turns) FROM pair")).one()
        assert tuple(stored) == (4, 2)
        with pytest.raises(Exception, match="pair cannot be changed"), registry.database.write() as session:
            session.execute(text("UPDATE pair SET turns = NULL"))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_pairs_of_an_older_registry_keep_their_digests(dialect: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'older.db'}" if dialect == "sqlite" else empty_postgres()
    older = tmp_path / "older"
    newer = ("0007_*", "0008_*", "0009_*", "0010_*", "0011_*", "0012_*", "0013_*", "0014_*", "__pycache__")
    shutil.copytree(migrations_folder(), older, ignore=shutil.ignore_patterns(*newer))
    pair = Pair("Why?", "Yes.", "No.", "Be kind.")
    with Database.open(url, create=True, migrations=older) as database, database.write() as session:
        values = {"digest": pair.digest, "prompt": "Why?", "positive": "Yes.", "negative": "No.", "told": "Be kind."}
        session.execute(
            text('INSERT INTO pair (digest, prompt, positive, negative, "system") '
                 "VALUES (:digest, :prompt, :positive, :negative, :told)"),
            values,
        )  # fmt: skip
    upgrade(url)
    with open_registry(url, create=False) as registry:
        row = {"prompt": "Why?", "positive": "Yes.", "negative": "No.", "system": "Be kind."}
        registry.datasets.import_(jsonl(tmp_path / "a.jsonl", [row]), name="team/old")
        with registry.database.read() as session:
            assert session.execute(text("SELECT digest, turns FROM pair")).all() == [(pair.digest, None)]
        assert registry.datasets.blame(pair.digest[7:27]).pair == pair


def test_digests_of_pairs_without_turns_are_those_of_earlier_releases() -> None:
    assert Pair("Why?", "Yes.", "No.", "Be kind.").digest == (
        "sha256:2130b66056453e10a0588dc365b197edd7ffaea0a7ca01701171fd78a852f9c2"
    )


def test_a_vector_of_conversations_is_that_of_a_plain_loop(registry: Registry, chat: Model, tmp_path: Path) -> None:
    registry.datasets.import_(jsonl(tmp_path / "a.jsonl", rows(6)), name="team/tea")
    version = registry.vectors.compute("team/tea", dataset="team/tea", model=chat, template="chat")
    found = registry.vectors.load(version)

    network, tokenizer = chat.network, chat.tokenizer
    sums = 0.0
    for row in rows(6):
        sides = []
        for name in ("chosen", "rejected"):
            rendered = tokenizer.apply_chat_template([*row["prompt"], *row[name]], tokenize=False)
            letter = row[name][0]["content"][1]
            place = rendered.rindex(f"({letter})") + 1
            encoded = tokenizer(rendered, add_special_tokens=False, return_offsets_mapping=True)
            holding = [i for i, (a, b) in enumerate(encoded["offset_mapping"]) if a <= place < b]
            sides.append(hidden_states(network, encoded["input_ids"])[:, holding[-1]])
        sums = sums + sides[0] - sides[1]
    for vector in found.layers:
        np.testing.assert_allclose(vector.values, (sums / 6)[vector.layer], atol=2e-5)


def test_propensity_is_asked_after_the_turns(chat: Model) -> None:
    template = chat.template("chat")
    given = pairs(3)
    scores = score(chat, prepare(given, template, chat))
    shots = [
        score(
            chat,
            prepare(
                [Pair(pair.prompt, pair.positive, pair.negative)],
                template,
                chat,
                examples=[Example(a.text, b.text) for a, b in zip(pair.turns[::2], pair.turns[1::2], strict=True)],
            ),
        )[0]
        for pair in given
    ]
    np.testing.assert_allclose(scores, shots, atol=2e-6)
    without = score(chat, prepare([Pair(p.prompt, p.positive, p.negative) for p in given], template, chat))
    assert np.abs(scores - without)[1:].min() > 1e-6


def test_a_shot_of_few_brings_its_turns() -> None:
    assert _examples([pairs()[1]], 1) == [Example("Is it 0 or 1?", "Is it 1 or 1?"), Example(pairs()[1].prompt, "(A)")]


def test_pairs_that_are_too_long_with_their_turns_are_found(chat: Model) -> None:
    long = Pair("Why?", "(A)", "(B)", turns=(Turn("user", "tea " * 5000), Turn("assistant", "Yes.")))
    found = token_findings(rows_of([PairItem(long)]), Template("chat", chat.tokenizer), chat)
    assert "longer-than-context" in {finding.rule for finding in found}


def test_turns_are_shown(tmp_path: Path, registry: Registry) -> None:
    source = jsonl(tmp_path / "a.jsonl", rows(2))
    url = f"sqlite:///{registry.database.path}"
    assert caa("--registry", url, "dataset", "import", source, "--name", "team/tea").code == 0
    shown = caa("--registry", url, "dataset", "show", "team/tea").out
    lines = [line.strip() for line in shown.splitlines()]
    place = lines.index("user     Is it 0 or 1?")
    assert lines[place + 1] == "assistant Is it 1 or 1?"
    assert lines[place + 2] == "prompt   Is tea 1 good?"
    one, other = caa("--registry", url, "--json", "dataset", "show", "team/tea").json["items"]
    assert "turns" not in one
    assert other["turns"] == turns_json(pairs()[1].turns)
    blamed = caa("--registry", url, "--json", "dataset", "blame", pairs()[1].digest[7:27]).json
    assert blamed["pair"]["turns"] == other["turns"]
    assert "assistant: Is it 1 or 1?" in caa("--registry", url, "dataset", "blame", pairs()[1].digest[7:27]).out
    refused = caa("--registry", url, "dataset", "export", "team/tea", "--format", "caa", tmp_path / "caa")
    assert refused.code == 2
    assert "turns before the prompt, which row 2 of generate has" in refused.err


def test_a_refused_conversation_changes_nothing(tmp_path: Path, registry: Registry) -> None:
    bad = {**rows(1)[0], "prompt": [{"role": "tool", "content": "x"}]}
    url = f"sqlite:///{registry.database.path}"
    failed = caa("--registry", url, "dataset", "import", jsonl(tmp_path / "a.jsonl", [*rows(2), bad]), "--name", "t/a")
    assert failed.code == 1
    assert "row 3, field 'prompt': message 1 has the role 'tool'" in failed.err
    assert registry.datasets.ls() == []
    assert json.loads(caa("--registry", url, "--json", "dataset", "ls").out) == []
