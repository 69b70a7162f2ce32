"""Damage done to a registry file, what reading it then says, and what of that is wrong.

A registry of everything is made once with the demo model; ``check_damage.py`` and a test damage copies of it and read
them back in every way that there is.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import caa_registry as caa
from caa_registry.catalog.events import verify_chain
from caa_registry.errors import CaaError
from caa_registry.evaluation.open_ended.judging import Answered, JudgeIdentity, Rating
from caa_registry.pairs.curation.choosing import Filter
from caa_registry.registry.maintenance.signing.keys import new_key
from caa_registry.registry.records import CalibrationSettings, OpenEndedSettings, PlanSettings, Recommendation
from caa_registry.registry.registry import Registry
from caa_registry.wire.plain import plain

# What no check covers, by table. docs/durability.md lists the same, which a test holds.
UNCOVERED: Mapping[str, tuple[str, ...]] = {
    "amendment": ("dataset_version_id", "vector_version_id"),
    "blob": ("size", "stored_at"),
    "dataset_version": ("deleted_at",),
    "evaluation": ("deleted_at",),
    "lint_report": ("version_id",),
    "meta": ("key", "value"),
    "model": ("tensors", "path", "adapter_path"),
    "review": ("dataset_id",),
    "tag": ("dataset_version_id", "vector_version_id"),
    "vector_version": ("deleted_at",),
}
# Listings. One that lacks what it had, because a row is lost or can no longer be found, counts as uncovered too.
_LISTINGS = (
    "datasets",
    "vectors",
    "plans",
    "evidence",
    "report",
    "evaluations",
    "leaderboard",
    "models",
    "alias",
    "log",
    "lint",
    "blame",
    "runs",
    "signatures",
    "tags",
    "search",
)
# What a recall or an alias leaves on others may be lost with a row.
_MARKED = re.compile(r"(evaluation|vector|dataset) ")
_MARKS = re.compile(r'"(?:quarantined|recalled|aliases|tags)": (?:"[^"]*"|\[[^\]]*\]|\{[^}]*\})')
_KINDS = ("bytes", "page", "cell", "swap")

Views = dict[str, str]
"""By way of reading what came out: the result as JSON, or the typed error."""


@dataclass(frozen=True)
class Outcome:
    """What one damage did. ``kind``: ``harmless``, ``reported``, ``uncovered``, ``silent`` or ``untyped``."""

    kind: str
    damage: str
    detail: str = ""


class _FixedJudge:
    """A judge that gives every answer a 7."""

    identity = JudgeIdentity("human", "ada", "sha256:" + "0" * 64)

    def ratings(self, answers: Sequence[Answered]) -> Iterator[Rating]:
        return (Rating(index, 7.0, "7") for index in range(len(answers)))


def make(path: Path) -> None:
    """Make a registry at ``path`` with some of everything that it can hold."""
    make_unplanned(path)
    plan_and_calibrate(path)
    exchange(path)
    retire(path)
    describe(path)


def plan_and_calibrate(path: Path) -> None:
    """Store a plan in the registry of ``make_unplanned`` and run it, and calibrate the plan's vector."""
    with caa.open(str(path)) as registry:
        settings = PlanSettings(draws=19)
        registry.plans.make("team/plan", "team/praise:v1", split="test", layers=[1], settings=settings)
        registry.plans.run("team/plan")
        registry.evaluations.calibrate(
            "team/praise:v1",
            model="demo",
            layers=[1],
            multipliers=[1.0],
            settings=CalibrationSettings(text="demo", coherence=0, direction="less", target_kl=2.0),
        )


def exchange(path: Path) -> None:
    """Import a vector of the registry of ``make_unplanned`` as a colleague's, without and with its model, and combine
    two."""
    with caa.open(str(path)) as registry:
        file = path.with_name("praise.npz")
        registry.vectors.export("team/praise:v1", file, layers=[1, 2])
        registry.vectors.import_(file, name="team/theirs")
        registry.vectors.import_(file, name="team/theirs", model="demo")
        registry.vectors.combine("team/mixed", ["team/praise:v1", "team/theirs:v2:-0.5"], layers=[1, 2])


def retire(path: Path) -> None:
    """Deprecate a version of the registry of ``make_unplanned``, quarantine an evaluation, sign, and record a step of
    a script that failed."""
    with caa.open(str(path)) as registry:
        registry.deprecate("team/praise:v2", why="another method", successor="team/praise:v1")
        registry.quarantine("evaluation:3", why="sampled with the wrong seed")
        key = path.with_name("key.pem")
        new_key(key)
        registry.sign("team/praise:v1", key)
        with suppress(ZeroDivisionError), registry.run("divide", inputs=["team/praise:v1"]):
            _ = 1 / 0


def describe(path: Path) -> None:
    """Say what is in the registry of ``exchange``: tags, texts, another licence and behavior, a protected alias and
    another name."""
    with caa.open(str(path)) as registry:
        registry.tags.set("team/praise:v1", {"status": "reviewed", "owner": "ada"})
        registry.tags.set("team/dishes:v1", {"status": "draft"})
        registry.tags.remove("team/praise:v1", "owner")
        registry.describe("team/dishes:v1", text="Was the dish good?", licence="MIT")
        registry.describe("team/theirs:v1", behavior="gratitude")
        registry.aliases.set("team/dishes:v1", "main", protect=True)
        registry.rename("team/mixed", "team/mixture")


def make_unplanned(path: Path) -> None:
    """The same without plans and verdicts."""
    pairs, questions = path.with_name("pairs.jsonl"), path.with_name("questions.jsonl")
    rows = [
        {
            "prompt": f"Was dish {i} good?\n\nChoices:\n (A) It was bad.\n (B) It was good.",
            "positive": "(B)",
            "negative": "(A)",
            "split": "generate" if i < 8 else "test",
            "category": f"dish{i % 3}",
        }
        for i in range(14)
    ]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    questions.write_text("".join(json.dumps({"question": f"How was dish {i}?"}) + "\n" for i in range(3)))
    with caa.open(str(path), create=True) as registry:
        datasets, evaluations = registry.datasets, registry.evaluations
        first = datasets.import_(str(pairs), name="team/dishes", behavior="praise")
        datasets.import_(str(questions), name="team/questions")
        datasets.curate(Filter("split == 'test' or '1' in prompt"), first, message="fewer")
        datasets.lint(first)
        digests = [item.digest for item in datasets.pairs(first)]
        datasets.review(first, [(digest, "accepted", "fine") for digest in digests[:3]])
        datasets.recall(digests[-1], why="unclear")
        model = registry.models.load("demo")
        registry.models.add(model)
        vector = registry.vectors.compute("team/praise", dataset=first, model=model)
        registry.vectors.compute("team/praise", dataset=first, model=model, layers=[1, 2])
        evaluations.propensity(vector, model=model, layers=[1, 2])
        evaluations.side_effects(vector, model=model, text="demo", layers=[1], multipliers=[0.0, 1.0])
        answered = evaluations.open_ended(
            vector,
            dataset="team/questions",
            model=model,
            layers=[1],
            multipliers=[0.0, 1.0],
            settings=OpenEndedSettings(max_tokens=6),
        )
        evaluations.rate(answered, _FixedJudge())
        registry.aliases.set(vector.reference, "best", Recommendation((1,), 1.5))
        registry.aliases.set(first.reference, "main")


def views(path: Path) -> Views:
    """What every way of reading the registry says. Raises what is no typed error."""
    found: Views = {}
    try:
        registry = caa.open(str(path))
    except CaaError as error:
        return {"open": f"error: {error}"}
    with registry:
        for name, read in _ways(registry):
            try:
                found[name] = json.dumps(read(), default=_plain, sort_keys=True)
            except CaaError as error:
                found[name] = f"error: {error}"
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, set | frozenset):
        return sorted(value)
    try:
        return plain(value)
    except TypeError:
        return {key: item for key, item in vars(value).items() if not key.startswith("_")}


def _ways(registry: Registry) -> Iterator[tuple[str, Callable[[], Any]]]:
    datasets, vectors, evaluations = registry.datasets, registry.vectors, registry.evaluations
    for name in ("team/dishes:v1", "team/dishes:v2", "team/dishes:main"):
        yield f"dataset {name}", lambda name=name: datasets.get(name)
        yield f"pairs {name}", lambda name=name: datasets.pairs(name)
        yield f"statistics {name}", lambda name=name: datasets.statistics(name).splits
        yield f"reviews {name}", lambda name=name: datasets.reviews(name)
        yield f"lint {name}", lambda name=name: datasets.lint_report(name)
        yield f"recipe {name}", lambda name=name: datasets.recipe(name)
        yield f"card {name}", lambda name=name: datasets.card(name)
    yield "questions", lambda: datasets.questions("team/questions")
    yield "datasets", datasets.ls
    yield "diff", lambda: datasets.diff("team/dishes:v1", "team/dishes:v2")
    yield "log", lambda: datasets.log("team/dishes")
    yield "blame", lambda: datasets.blame(datasets.pairs("team/dishes:v1")[-1].digest[7:27])
    yield "vectors", vectors.ls
    for name in ("team/praise:v1", "team/praise:v2", "team/praise:best"):
        yield f"vector {name}", lambda name=name: vectors.get(name)
        yield f"numbers {name}", lambda name=name: [(v.layer, v.values) for v in vectors.load(name).layers]
        for layer in (1, 2):
            yield f"layer {layer} {name}", lambda name=name, layer=layer: vectors.layer(name, layer).values
    yield "evaluations", evaluations.ls
    yield "leaderboard", evaluations.leaderboard
    yield "evidence", lambda: evaluations.evidence([vectors.get("team/praise:v1")])
    yield "report", lambda: registry.reports.tables("team/praise:v1")
    for number in (1, 2, 3, 4, 5):
        yield f"evaluation {number}", lambda number=number: evaluations.get(number)
    yield "measurements", lambda: vars(evaluations.measurements(1))
    yield "answers", lambda: evaluations.answers(3)
    yield "judgements", lambda: evaluations.judgements(3)
    yield "plans", registry.plans.ls
    yield "plan", lambda: registry.plans.get("team/plan")
    yield "asked before", lambda: registry.plans.asked_before(registry.plans.get("team/plan"))
    yield "outcome", lambda: registry.plans.outcome(evaluations.get(4))
    yield "models", registry.models.ls
    yield "model", lambda: registry.models.get("demo")
    yield "aliases", registry.aliases.ls
    yield "alias", lambda: registry.aliases.get("team/praise:best")
    yield "lineage", lambda: registry.lineage("team/dishes:v1")
    yield "runs", registry.runs.ls
    yield "signatures", lambda: registry.verify("team/praise:v1").signatures
    yield "tags", registry.tags.ls
    yield "search", lambda: list(registry.search("dish"))
    yield "search for tags", lambda: list(registry.search("reviewed"))
    yield "alias moves", lambda: registry.aliases.log("team/dishes:main")
    yield "events", lambda: _events(registry)


def _events(registry: Registry) -> int:
    with registry.database.read() as session:
        return verify_chain(session).events


def damage(path: Path, chance: random.Random, number: int) -> tuple[str, tuple[str, str] | None]:
    """Damage a registry file in one of four ways, in turn; what was done and, of a cell, its table and column."""
    kind = _KINDS[number % len(_KINDS)]
    return _damage_file(path, kind, chance) if kind in ("bytes", "page") else _damage_cell(path, kind, chance)


def outcome(whole: Path, before: Views, copy: Path, seed: int) -> Outcome:
    """Damage a copy of ``whole``, which reads as ``before``, in the way that ``seed`` says, and read it."""
    shutil.copy(whole, copy)
    for suffix in ("-wal", "-shm"):
        Path(f"{copy}{suffix}").unlink(missing_ok=True)
    what, place = damage(copy, random.Random(seed), seed)
    try:
        now = views(copy)
    except Exception as error:  # noqa: BLE001 - whatever has no type is what is looked for
        return Outcome("untyped", what, f"{type(error).__name__}: {error}")
    differing = [name for name in before if now.get(name, now.get("open", "missing")) != before[name]]
    wrong = [name for name in differing if not now.get(name, now.get("open", "")).startswith("error: ")]
    if not differing:
        return Outcome("harmless", what)
    if not wrong:
        return Outcome("reported", what, now.get(differing[0], now.get("open", "")))
    places = {place} if place else changed_cells(whole, copy)
    left = {(table, column) for table, columns in UNCOVERED.items() for column in columns}
    # A row under another number is lost to what refers to it.
    left |= {(table, "id") for table, _ in places}
    more = {name for name in wrong if not _less(name, before[name], now.get(name, "null"))}
    # These read the rows of versions without comparing whole versions, and no events.
    if more <= {"log", "blame", "search", "search for tags"} and any(table == "dataset_member" for table, _ in places):
        places = {place for place in places if place[0] not in ("dataset_member", "event")}
    if places <= left or not more:
        return Outcome("uncovered", what, ", ".join(wrong))
    return Outcome("silent", f"{what} {sorted(places)}", "".join(f"\n    {name}: {now[name]}" for name in wrong))


def _less(name: str, before: str, now: str) -> bool:
    """Whether a listing says nothing that it did not say before."""
    if _MARKED.match(name):
        return _MARKS.sub("", now) == _MARKS.sub("", before)
    return name.startswith((*_LISTINGS, "lineage")) and _within(json.loads(now), json.loads(before))


def _within(now: Any, before: Any) -> bool:
    if isinstance(now, list) and isinstance(before, list):
        return all(any(_within(item, other) for other in before) for item in now)
    if isinstance(now, dict) and isinstance(before, dict):
        return all(key in before and _within(item, before[key]) for key, item in now.items())
    return now in (None, "") or now == before


def _damage_file(path: Path, kind: str, chance: random.Random) -> tuple[str, None]:
    data = bytearray(path.read_bytes())
    if kind == "page":
        size = int.from_bytes(data[16:18], "big")
        first, second = chance.sample(range(1, len(data) // size), 2)
        how = chance.choice(["zeroed", "swapped", "doubled"])
        one, other = slice(first * size, (first + 1) * size), slice(second * size, (second + 1) * size)
        if how == "zeroed":
            data[one] = bytes(size)
        elif how == "swapped":
            data[one], data[other] = data[other], data[one]
        else:
            data[other] = data[one]
        path.write_bytes(data)
        return f"page {first} {how} ({second})", None
    start, length = chance.randrange(len(data)), chance.choice([1, 1, 1, 2, 8, 64])
    for i in range(start, min(start + length, len(data))):
        data[i] ^= chance.randrange(1, 256)
    path.write_bytes(data)
    return f"bytes {start} to {start + length}", None


def _damage_cell(path: Path, kind: str, chance: random.Random) -> tuple[str, tuple[str, str]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints=ON")
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        tables = [name for name in tables if not name.startswith(("sqlite_", "caa_", "search_index"))]
        while True:
            table = chance.choice(tables)
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            column = chance.choice(columns)
            rows = connection.execute(f'SELECT rowid, "{column}" FROM {table}').fetchall()
            if not rows:
                continue
            row, value = chance.choice(rows)
            new = other_value(value, [other for _, other in rows], kind, chance)
            with contextlib.suppress(sqlite3.IntegrityError):
                connection.execute(f'UPDATE {table} SET "{column}" = ? WHERE rowid = ?', (new, row))
                # Without its triggers the file would not be opened at all.
                for _, sql in triggers:
                    connection.execute(sql)
                return f"{table}.{column} {value!r:.60} -> {new!r:.60}", (table, column)


def other_value(value: Any, others: list[Any], kind: str, chance: random.Random) -> Any:
    """Something else for a cell: of another row (``swap``), near it, or wild."""
    if kind == "swap":
        return chance.choice(others)
    wild: list[Any] = [None, "", 0, -1, 2**62, 1.5, float("inf"), "x", "[]", "{}", "null", b"\xff\x00", "2024-13-45"]
    if isinstance(value, str) and value and chance.random() < 0.6:
        place = chance.randrange(len(value))
        return value[:place] + chance.choice(["", "0", "}", "é", '"', "\x00"]) + value[place + chance.randrange(2) :]
    if isinstance(value, int | float) and chance.random() < 0.6:
        return value + chance.choice([1, -1, 0.5, 1e-9])
    return chance.choice(wild)


def changed_cells(whole: Path, copy: Path) -> set[tuple[str, str]]:
    """The cells that differ, as (table, column); a row that is gone or new counts as the column ``*``."""
    found: set[tuple[str, str]] = set()
    with closing(sqlite3.connect(whole)) as one, closing(sqlite3.connect(copy)) as other:
        # But for SQLite's index of the words in search_entry, which says nothing that these do not.
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'search_index%'"
        tables = [row[0] for row in one.execute(query)]
        for table in tables:
            columns = [row[1] for row in one.execute(f"PRAGMA table_info({table})")]
            try:
                before = {row[0]: row[1:] for row in one.execute(f"SELECT rowid, * FROM {table}")}
                after = {row[0]: row[1:] for row in other.execute(f"SELECT rowid, * FROM {table}")}
            except sqlite3.Error:
                found.add((table, "?"))
                continue
            if before.keys() != after.keys():
                found.add((table, "*"))
            for row in before.keys() & after.keys():
                cells = zip(columns, before[row], after[row], strict=True)
                found |= {(table, column) for column, a, b in cells if a != b}
    return found
