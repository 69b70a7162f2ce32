"""Lineage: the runs between pairs, models, vectors and scores, walked both ways. Every thing is met once, in a number
of statements that depends neither on how many there are nor on how far apart."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among
from caa_registry.catalog.integrity.damage import damaged
from caa_registry.registry.lookup import find_version, kind_of
from caa_registry.registry.records import Lineage, LineageNode, RunRecord
from caa_registry.registry.workspace import Workspace

Direction = Literal["input", "output"]
Thing = tuple[str, int]
"""The kind and id of a dataset version, vector version, model, plan or evaluation."""


@dataclass(frozen=True)
class _Way:
    """What the walk in one direction met: the things, nearest first; the runs of each; what is beyond each run."""

    things: Sequence[Thing]
    runs: Mapping[Thing, Sequence[int]]
    beyond: Mapping[int, Sequence[Thing]]


@dataclass(frozen=True)
class Name:
    """How a thing is called within a lineage and outside of it."""

    key: str
    reference: str
    digest: str = ""
    aliases: Sequence[str] = field(default=())


def lineage(workspace: Workspace, reference: str) -> Lineage:
    """What ``reference`` was made from, to the sources, and what was made from it, to the scores."""
    with workspace.database.read() as session:
        kind = kind_of(session, reference)
        root = (kind, find_version(session, reference, kind).id)
        up = _walked(session, [root], near="output", far="input")
        down = _walked(session, [root], near="input", far="output")
        things = list(dict.fromkeys([root, *up.things, *down.things]))
        names = names_of(session, things)
        makers = _makers(up, down)
        runs = _runs(session, set(makers.values()))
    lost = [f"{kind} {id}" for kind, id in things if (kind, id) not in names]
    lost += [f"run {run}" for run in makers.values() if run not in runs]
    if lost:
        raise damaged(lost[0], "the lineage leads to it, and it is missing")
    nodes = {}
    for thing in things:
        maker = makers.get(thing)
        inputs = up.beyond.get(maker, ()) if maker is not None and thing in up.runs else ()
        outputs = [product for run in down.runs.get(thing, ()) for product in down.beyond.get(run, ())]
        name = names[thing]
        nodes[name.key] = LineageNode(
            key=name.key,
            kind=thing[0],
            reference=name.reference,
            digest=name.digest,
            run=runs[maker] if maker is not None else None,
            inputs=tuple(names[source].key for source in inputs),
            outputs=tuple(names[product].key for product in dict.fromkeys(outputs)),
            aliases=name.aliases,
        )
    return Lineage(nodes[names[root].key], nodes)


def made_from(session: Session, things: Sequence[Thing]) -> dict[Thing, int | None]:
    """``things`` and all that they were made from, each with the run that made it, ``None`` for a model that came with
    something else. What something was made from stands before it."""
    up = _walked(session, things, near="output", far="input")
    runs = {thing: up.runs[thing][0] if thing in up.runs else None for thing in up.things}
    # A run reads what is there before it, so the runs are in that order too.
    return dict(sorted(runs.items(), key=lambda made: (made[1] or 0, made[0])))


def _walked(session: Session, roots: Sequence[Thing], *, near: Direction, far: Direction) -> _Way:
    """Walk from ``roots`` through every run that has a thing on its ``near`` side to what is on its ``far`` side."""
    # Dictionaries without values: sets that keep their order.
    runs: dict[Thing, dict[int, None]] = defaultdict(dict)
    beyond: dict[int, dict[Thing, None]] = defaultdict(dict)
    # Sorted here: asked for an order, SQLite would read all of ``run_io`` in that order.
    for thing, run, neighbor in sorted(
        _links(session, roots, near, far), key=lambda link: (link[1], link[2] or ("", 0))
    ):
        # Of several runs that have a thing as output the first one made it.
        if near == "input" or thing not in runs:
            runs[thing][run] = None
        if neighbor is not None:
            beyond[run][neighbor] = None
    things: dict[Thing, None] = dict.fromkeys(roots)
    queue = deque(roots)
    while queue:
        for run in runs.get(queue.popleft(), ()):
            new = [neighbor for neighbor in beyond.get(run, ()) if neighbor not in things]
            things |= dict.fromkeys(new)
            queue.extend(new)
    return _Way(
        list(things),
        {thing: list(numbers) for thing, numbers in runs.items()},
        {run: list(neighbors) for run, neighbors in beyond.items()},
    )


def _links(
    session: Session, roots: Sequence[Thing], near: Direction, far: Direction
) -> Iterator[tuple[Thing, int, Thing | None]]:
    """All that is reached from ``roots``, each with a run and what is on the other side of that; ``None``: nothing."""
    here, there = aliased(t.RunIO), aliased(t.RunIO)
    ids: dict[str, list[int]] = defaultdict(list)
    for kind, id in roots:
        ids[kind].append(id)
    reached = (
        select(here.kind, here.object_id)
        .where(or_(*((here.kind == kind) & among(session, here.object_id, of) for kind, of in ids.items())))
        .cte(f"by_{far}", recursive=True)
    )
    on_near, on_far = aliased(t.RunIO), aliased(t.RunIO)
    reached = reached.union(
        select(on_far.kind, on_far.object_id)
        .select_from(reached)
        .join(
            on_near,
            (on_near.kind == reached.c.kind) & (on_near.object_id == reached.c.object_id) & (on_near.direction == near),
        )
        .join(on_far, (on_far.run_id == on_near.run_id) & (on_far.direction == far))
    )
    links = (
        select(here.kind, here.object_id, here.run_id, there.kind, there.object_id)
        .select_from(reached)
        .join(here, (here.kind == reached.c.kind) & (here.object_id == reached.c.object_id) & (here.direction == near))
        .outerjoin(there, (there.run_id == here.run_id) & (there.direction == far))
    )
    for near_kind, near_id, run, far_kind, far_id in session.execute(links):
        yield (near_kind, near_id), run, None if far_kind is None else (far_kind, far_id)


def _makers(up: _Way, down: _Way) -> dict[Thing, int]:
    """The run that made each thing. Downwards that is the one by which it was reached."""
    makers = {product: run for run in sorted(down.beyond, reverse=True) for product in down.beyond[run]}
    return makers | {thing: runs[0] for thing, runs in up.runs.items()}


def maker(session: Session, thing: Thing) -> RunRecord | None:
    """The run that made ``thing``: the first that has it among its outputs. Raises ``IntegrityError`` where it is
    lost."""
    kind, id = thing
    made = select(t.RunIO.run_id).where(t.RunIO.kind == kind, t.RunIO.object_id == id, t.RunIO.direction == "output")
    number = session.scalar(made.order_by(t.RunIO.run_id).limit(1))
    if number is None:
        return None
    runs = _runs(session, [number])
    if not runs:
        raise damaged(f"{kind} {id}", f"run {number} made it, and is missing")
    return runs[number]


def _runs(session: Session, ids: Iterable[int]) -> dict[int, RunRecord]:
    rows = session.scalars(select(t.Run).where(among(session, t.Run.id, list(ids))))
    return {run.id: record(run) for run in rows}


def record(run: t.Run) -> RunRecord:
    """What is handed out of a run."""
    return RunRecord(
        run.id,
        run.kind,
        run.actor,
        run.parameters,
        run.environment,
        run.started_at,
        run.finished_at,
        run.failure or "",
    )


def names_of(session: Session, things: Sequence[Thing]) -> dict[Thing, Name]:
    """How each of ``things`` is called; those that are not there are left out."""
    ids: dict[str, list[int]] = defaultdict(list)
    for kind, id in things:
        ids[kind].append(id)
    names: dict[Thing, Name] = {
        ("evaluation", id): Name(f"evaluation:{id}", f"evaluation {id}") for id in ids["evaluation"]
    }
    for model in session.scalars(select(t.Model).where(among(session, t.Model.id, ids["model"]))):
        names["model", model.id] = Name(f"model:{model.name}@{model.fingerprint[:19]}", model.name, model.fingerprint)
    for plan in session.scalars(select(t.Plan).where(among(session, t.Plan.id, ids["plan"]))):
        names["plan", plan.id] = Name(f"plan:{plan.name}", plan.name, plan.digest)
    dataset, vector, alias = t.DatasetVersion, t.VectorVersion, t.Alias
    versions: dict[str, tuple[Any, InstrumentedAttribute[int | None]]] = {
        "dataset": (
            select(dataset, t.Dataset)
            .join(t.Dataset, t.Dataset.id == dataset.dataset_id)
            .where(among(session, dataset.id, ids["dataset"])),
            alias.dataset_version_id,
        ),
        "vector": (
            select(vector, t.Vector)
            .join(t.Vector, t.Vector.id == vector.vector_id)
            .where(among(session, vector.id, ids["vector"])),
            alias.vector_version_id,
        ),
    }
    for kind, (query, column) in versions.items():
        aliases: dict[int | None, list[str]] = defaultdict(list)
        for row in session.scalars(select(alias).where(among(session, column, ids[kind])).order_by(alias.name)):
            aliases[getattr(row, column.key)].append(row.name)
        for version, owner in session.execute(query):
            reference = f"{owner.name}:v{version.number}"
            names[kind, version.id] = Name(f"{kind}:{reference}", reference, version.digest, tuple(aliases[version.id]))
    return names


def deleted_sources(session: Session, things: Sequence[Thing]) -> list[str]:
    """The dataset and vector versions that ``things`` were made from and that are deleted, with their kinds."""
    used, made = aliased(t.RunIO), aliased(t.RunIO)
    versions: dict[str, Any] = {"dataset": t.DatasetVersion, "vector": t.VectorVersion}
    found: set[Thing] = set()
    for kind in {kind for kind, _ in things}:
        of_these = among(session, made.object_id, [id for of, id in things if of == kind])
        for source, version in versions.items():
            query = (
                select(version.id)
                .join(used, and_(used.object_id == version.id, used.kind == source, used.direction == "input"))
                .join(made, and_(made.run_id == used.run_id, made.kind == kind, made.direction == "output"))
                .where(of_these, version.deleted_at.is_not(None))
            )
            found |= {(source, id) for id in session.scalars(query)}
    names = names_of(session, sorted(found))
    return [names[thing].key for thing in sorted(found)]
