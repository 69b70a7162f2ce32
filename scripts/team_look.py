"""What is wrong in a team's registry, after what its clients wrote in their journals. Bytes are read from the bucket
itself, past all caches."""

from __future__ import annotations

import hashlib
import http.client
import json
import struct
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from sqlalchemy import literal, select
from sqlalchemy.orm import aliased
from team_history import History
from team_operations import BASE, GONE, NONE, TABLES, THERE, digest_of_numbers, digest_of_rows

import caa_registry as caa
from caa_registry.catalog import models as t
from caa_registry.errors import CaaError
from caa_registry.registry.registry import Registry

Thing = tuple[str, int]


@dataclass(frozen=True)
class Bucket:
    """The server of a bucket, past what makes its answers fail. ``prefix``: of the paths of all blobs."""

    host: str
    port: int
    prefix: str

    def get(self, digest: str) -> bytes | None:
        """A blob, or ``None`` where it is not there or not what its digest says."""
        figures = digest.removeprefix("sha256:")
        connection = http.client.HTTPConnection(self.host, self.port)
        # It wants to see that somebody asks, and looks no further.
        somebody = {"Authorization": "AWS4-HMAC-SHA256 Credential=anybody/20260101/us-east-1/s3/aws4_request"}
        connection.request("GET", f"{self.prefix}/sha256/{figures[:2]}/{figures}", headers=somebody)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return data if answer.status == 200 and hashlib.sha256(data).hexdigest() == figures else None


@dataclass(frozen=True)
class Held:
    """A version or evaluation that the registry has. ``about``: as journals call it; ``blob``: empty for a dataset."""

    thing: Thing
    about: str
    name: str
    number: int
    state: str
    blob: str


def look(history: History, url: str, second: str, bucket: Bucket) -> tuple[list[str], Counter[str]]:
    """What is wrong, and how much was looked at; then again when all was removed that may be."""
    with caa.open(url, actor="fsck", create=False) as registry:
        problems, looked = look_at(history, registry, bucket)
        problems += _second(history, second)
        history.collected.append((time.monotonic(), time.monotonic()))
        collected = registry.gc(grace=timedelta(0))
        looked["blobs removed in the end"] = collected.blobs
        after, _ = look_at(history, registry, bucket)
        problems += [f"after a last gc: {each}" for each in after if each not in problems]
    return problems, looked


def look_at(history: History, registry: Registry, bucket: Bucket) -> tuple[list[str], Counter[str]]:
    """What is wrong, and how much was looked at."""
    problems = [f"fsck: {each.check}: {each.thing}: {each.problem}" for each in registry.fsck().damage]
    held = list(_held(registry))
    known = {each.about: each for each in held}
    looked: Counter[str] = Counter({"versions": len(held), "deleted": sum(each.state == GONE for each in held)})
    problems += _numbering(held)
    problems += _unexplained(history, held)
    problems += _orphans(registry, {each.thing: each for each in held})
    for about in history.writes:
        kind = about.split()[0]
        if kind in ("dataset", "vector", "evaluation"):
            looked["told of"] += 1
            there = known.get(about)
            # Of an evaluation that came with a vector nobody was told.
            initial = THERE if kind == "evaluation" else NONE
            possible = history.possible(about, initial, about.rpartition(" ")[0])
            now = there.state if there is not None else NONE
            if now not in possible:
                problems.append(f"{about} is {now}, and must be {sorted(possible)}")
            numbers = history.numbers.get(about, set())
            if there is not None and not numbers <= {f"v{there.number}"}:
                problems.append(f"{about} is v{there.number}, and was told to be {sorted(numbers)}")
    for each in held:
        if each.state == THERE or history.kept_since(each.about, GONE):
            looked["read"] += 1
            problems += _contents(history, registry, bucket, each)
    said = _said(registry)
    for about in history.writes:
        if about.split()[0] in ("alias", "tag", "text"):
            looked["aliases, tags and texts"] += 1
            now, possible = said.get(about, NONE), history.possible(about, NONE)
            if now not in possible:
                problems.append(f"{about} is {now!r}, and must be {sorted(possible)}")
    looked["moved as expected"] = len(history.moved)
    return [*problems, *_moves(history, registry)], looked


def _held(registry: Registry) -> Iterator[Held]:
    """All that there is, as columns: whether rows are what was stored is for fsck to say."""
    evaluation = t.Evaluation
    with registry.database.read() as session:
        for kind, (owner, version, column) in TABLES.items():
            blob = version.blob_digest if kind == "vector" else literal("")
            query = select(owner.name, version.id, version.number, version.digest, version.deleted_at, blob)
            for name, id, number, digest, deleted, bytes_ in session.execute(query.join(owner, owner.id == column)):
                yield Held((kind, id), f"{kind} {name} {digest}", f"{kind} {name}", number, _state(deleted), bytes_)
        for id, deleted, bytes_ in session.execute(
            select(evaluation.id, evaluation.deleted_at, evaluation.measurements)
        ):
            yield Held(("evaluation", id), f"evaluation {id}", "evaluation", id, _state(deleted), bytes_ or "")


def _state(deleted: Any) -> str:
    return THERE if deleted is None else GONE


def _numbering(held: list[Held]) -> Iterator[str]:
    """Where the versions of a name are not 1 to n, or the same twice."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for each in held:
        if each.thing[0] != "evaluation":
            numbers[each.name].append(each.number)
    for name, found in numbers.items():
        if sorted(found) != list(range(1, len(found) + 1)):
            yield f"the versions of {name} are {sorted(found)}"
    for about, times in Counter(each.about for each in held).items():
        if times > 1:
            yield f"{about} is there {times} times"


def _unexplained(history: History, held: list[Held]) -> Iterator[str]:
    """Names of which there is more than anybody was told of or cut off from."""
    untold = Counter(
        each.name
        for each in held
        if each.about not in history.writes and each.thing[0] != "evaluation" and f" {BASE}/" not in each.about
    )
    for name, count in untold.items():
        if count > history.maybe[name]:
            yield f"{name} has {count} versions that nobody was told of, and {history.maybe[name]} were cut off"


def _orphans(registry: Registry, held: dict[Thing, Held]) -> Iterator[str]:
    """What is there, and was made from or points at something that is not."""
    used, made = aliased(t.RunIO), aliased(t.RunIO)
    query = (
        select(made.kind, made.object_id, used.kind, used.object_id)
        .join(used, (used.run_id == made.run_id) & (used.direction == "input"))
        .where(made.direction == "output")
        .distinct()
    )
    with registry.database.read() as session:
        arrows = session.execute(query).all()
    for kind, id, of, used_id in arrows:
        product, source = held.get((kind, id)), held.get((of, used_id))
        if of in ("dataset", "vector") and product is not None and product.state == THERE:
            state = NONE if source is None else source.state
            if state != THERE:
                yield f"{product.about} is there, and was made from {of} {used_id}, which is {state}"
    with registry.database.read() as session:
        columns = (t.Alias.kind, t.Alias.name, t.Alias.dataset_version_id, t.Alias.vector_version_id)
        aliases = session.execute(select(*columns)).all()
    for kind, name, dataset, vector in aliases:
        target = held.get((kind, dataset or vector))
        if target is None or target.state != THERE:
            yield f"alias {name} points at {target}, which is not there"


def _contents(history: History, registry: Registry, bucket: Bucket, held: Held) -> Iterator[str]:
    """Where what a version holds is lost, or is not what a client was told, gave or read."""
    expected = history.contents.get(held.about, set())
    if held.thing[0] == "dataset":
        from caa_registry.registry.datasets.store import load_pairs

        try:
            with registry.database.read() as session:
                items = load_pairs(session, held.thing[1])
        except CaaError as error:
            yield f"{held.about}, which is {held.state}: {error.message}"
            return
        found = digest_of_rows((i.pair.prompt, i.pair.positive, i.pair.negative, i.split) for i in items)
    elif not held.blob:
        return
    else:
        data = bucket.get(held.blob)
        if data is None:
            yield f"the bytes of {held.about}, which is {held.state}, are not in the bucket"
            return
        found = digest_of_numbers(_numbers(data)) if held.thing[0] == "vector" else ""
    if expected and expected != {found}:
        yield f"{held.about} holds {found}, and must hold {sorted(expected)}"


def _numbers(data: bytes) -> dict[int, Any]:
    """The layers of a vector file, read without caa."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    places = {name: entry["data_offsets"] for name, entry in header.items() if name.startswith("layer.")}
    return {
        int(name.removeprefix("layer.")): np.frombuffer(data[8 + length + first : 8 + length + stop], "<f4")
        for name, (first, stop) in places.items()
    }


def _said(registry: Registry) -> dict[str, str]:
    """What aliases, tags and texts are, by what journals call them."""
    said = {f"alias {a.kind} {a.name} {a.alias}": a.target.rpartition(":")[2] for a in registry.aliases.ls()}
    with registry.database.read() as session:
        for kind, (owner, version, column) in TABLES.items():
            of = t.Tag.dataset_version_id if kind == "dataset" else t.Tag.vector_version_id
            tags = select(owner.name, version.digest, t.Tag.key, t.Tag.value)
            tags = tags.select_from(t.Tag).join(version, of == version.id).join(owner, owner.id == column)
            for name, digest, key, value in session.execute(tags):
                said[f"tag {kind} {name} {digest} {key}"] = value
            texts = session.execute(select(owner.name, owner.description))
            said |= {f"text {kind} {name}": text for name, text in texts if text}
    return said


def _moves(history: History, registry: Registry) -> Iterator[str]:
    """Moves from where an alias was not, and moves that were told of and are not in the log."""
    logged: Counter[tuple[str, ...]] = Counter()
    last: dict[tuple[str, str, str], str] = {}
    for event in sorted(registry.audit.ls(), key=lambda each: each.id):
        if event.action not in ("set-alias", "remove-alias"):
            continue
        subject = event.subject
        alias = (subject["kind"], subject["name"], subject["alias"])
        before, after = subject.get("from") or NONE, subject.get("to") or NONE
        if last.get(alias, NONE) != before:
            yield f"alias {alias} was moved from {before}, and pointed at {last.get(alias, NONE)}"
        last[alias] = after
        logged[(event.actor, *alias, before, after)] += 1
    for move, times in Counter(history.moved).items():
        if logged[move] < times:
            yield f"{move} was told {times} times, and is in the log {logged[move]} times"


def _second(history: History, second: str) -> Iterator[str]:
    """Where the other registry lacks what was pushed."""
    with caa.open(second, create=False) as registry:
        yield from (f"fsck of the other: {each.thing}: {each.problem}" for each in registry.fsck().damage)
        held = {each.about for each in _held(registry)}
        yield from _numbering(list(_held(registry)))
    for about in history.writes:
        if about.startswith("second ") and about.removeprefix("second ") not in held:
            yield f"{about} was pushed, and is not there"
