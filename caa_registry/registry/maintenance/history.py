"""Checks of what was recorded: the chain of events, and whether what it tells of is what is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import select

from caa_registry.catalog import models as t
from caa_registry.catalog.events import verify_chain
from caa_registry.digests import floats_as_text
from caa_registry.registry.lookup import KINDS
from caa_registry.registry.maintenance.checks.descriptions import Said
from caa_registry.registry.maintenance.checkup import OWNED, Checkup
from caa_registry.registry.renames import Renames


def check_events(checkup: Checkup) -> None:
    """The chain of events, and that what they tell of is there, as they tell it."""
    session = checkup.session
    with checkup.noting("events", "the log"):
        verify_chain(session)
    told = _Told(checkup)
    with checkup.noting("events", "the log"):
        events = select(t.Event.id, t.Event.action, t.Event.actor, t.Event.subject).order_by(t.Event.id)
        for id, action, actor, subject in session.execute(events.execution_options(yield_per=1000)):
            with checkup.noting("events", f"event {id} ({action})"):
                for problem in told.by(id, action, actor, subject):
                    checkup.note("events", f"event {id} ({action})", problem)
            checkup.count("events")
    told.note_untold()


class _Told:
    """What is there, beside what events tell of it. ``aliases``: what the events left behind."""

    def __init__(self, checkup: Checkup) -> None:
        session = checkup.session
        self._runs = {
            id: (kind, actor) for id, kind, actor in session.execute(select(t.Run.id, t.Run.kind, t.Run.actor))
        }
        self._without_event = set(self._runs)
        self._versions: dict[tuple[str, str], str] = {}
        for kind, owner, version, column in OWNED:
            query = select(owner.name, version.number, version.digest).join(owner, owner.id == column)
            for name, number, digest in session.execute(query):
                self._versions[kind, f"{name}:v{number}"] = digest
        self._plans = dict(iter(session.execute(select(t.Plan.name, t.Plan.digest))))
        self._models = set(session.scalars(select(t.Model.fingerprint)))
        self._numbered: Mapping[str, set[int]] = {
            "evaluation": set(session.scalars(select(t.Evaluation.id))),
            "judgement": set(session.scalars(select(t.Judgement.id))),
            "recall": set(session.scalars(select(t.Recall.id))),
            "deprecation": set(session.scalars(select(t.Deprecation.id))),
            "quarantine": set(session.scalars(select(t.Quarantine.id))),
            "signature": set(session.scalars(select(t.Signature.id))),
            "report": set(session.scalars(select(t.LintReport.id))),
        }
        self._untold = {(kind, id) for kind, ids in self._numbered.items() if kind != "evaluation" for id in ids}
        self._deleted: set[tuple[str, str]] = set()
        self._aliases: dict[tuple[str, str, str], tuple[str, Any, bool]] = {}
        self._said = Said()
        self._renames = Renames(session)
        self._checkup = checkup

    def _now(self, id: int, subject: Mapping[str, Any]) -> dict[str, Any]:
        """What an event tells, with the names that things have now."""
        told = dict(subject)
        for kind in KINDS:
            if isinstance(told.get(kind), str):
                name, colon, number = told[kind].partition(":")
                told[kind] = f"{self._renames.now(kind, name, id)}{colon}{number}"
            if told.get("kind") == kind and isinstance(told.get("name"), str):
                told["name"] = self._renames.now(kind, told["name"], id)
        if "vectors" in told:
            told["vectors"] = [
                f"{self._renames.now('vector', name, id)}:{number}"
                for name, _, number in (each.partition(":") for each in told["vectors"])
            ]
        return told

    def by(self, id: int, action: str, actor: str, subject: Mapping[str, Any]) -> Iterator[str]:
        """What of that which an event tells is not so."""
        subject = self._now(id, subject)
        run = subject.get("run")
        if run is not None:
            self._without_event.discard(run)
            if run not in self._runs:
                yield f"it tells of run {run}, which is missing"
            elif action != "receive" and self._runs[run] != (action, actor):
                # What was received was done by others, and told of by whoever took it.
                yield f"it tells of another run {run}"
        for kind in ("dataset", "vector"):
            named = subject.get(kind)
            if not isinstance(named, str) or ":v" not in named:
                continue
            there = self._versions.get((kind, named))
            if there is None:
                yield f"it tells of {kind} {named}, which is missing"
            elif (
                "digest" in subject
                and not ("dataset" in subject and "vector" in subject)
                and there != subject["digest"]
            ):
                yield f"it tells another digest of {kind} {named}"
        for named in subject.get("vectors", ()):
            if ("vector", named) not in self._versions:
                yield f"it tells of vector {named}, which is missing"
        for kind, ids in self._numbered.items():
            self._untold.discard((kind, subject.get(kind)))
            if isinstance(subject.get(kind), int) and subject[kind] not in ids:
                yield f"it tells of {kind} {subject[kind]}, which is missing"
        if "plan" in subject:
            digest = subject.get("plan_digest", subject.get("digest"))
            if self._plans.get(subject["plan"]) != digest:
                yield f"it tells of plan {subject['plan']}, which is missing or says something else"
        if (
            "fingerprint" in subject
            and action in ("add-model", "move-model")
            and subject["fingerprint"] not in self._models
        ):
            yield f"it tells of model {subject.get('model')}, which is missing"
        if action in ("delete", "undelete"):
            for kind in ("dataset", "vector", "evaluation"):
                if kind in subject:
                    mark = self._deleted.add if action == "delete" else self._deleted.discard
                    mark((kind, str(subject[kind])))
        if action in ("set-alias", "remove-alias"):
            key = (subject["kind"], subject["name"], subject["alias"])
            if action == "set-alias":
                self._aliases[key] = (subject["to"], subject.get("recommendation"), bool(subject.get("protected")))
            else:
                self._aliases.pop(key, None)
        self._said.told(action, subject)

    def note_untold(self) -> None:
        """What is there though no event and no run tells of it, or other than they do."""
        for run in sorted(self._without_event):
            self._checkup.note("events", f"run {run}", "no event tells of it: it was not written by caa")
        for kind, id in sorted(self._untold):
            self._checkup.note("events", f"{kind} {id}", "no event tells of it: it was not written by caa")
        self._note_aliases()
        self._said.note(self._checkup)
        self._note_marks()
        self._note_without_run()

    def _note_aliases(self) -> None:
        there = {}
        alias = t.Alias.__table__.columns
        for kind, owner, version, _ in OWNED:
            column = alias[f"{kind}_version_id"]
            query = (
                select(owner.name, alias.name.label("alias"), version.number, alias.recommendation, alias.protected)
                .join(owner, owner.id == alias.owner_id)
                .join(version, version.id == column)
                .where(alias.kind == kind)
            )
            with self._checkup.noting("events", f"aliases of {kind}s"):
                for name, short, number, advice, protected in self._checkup.session.execute(query):
                    there[kind, name, short] = f"v{number}", floats_as_text(advice), bool(protected)
        for key in sorted(there.keys() | self._aliases.keys()):
            if there.get(key) != self._aliases.get(key):
                problem = "it is not as the last event about it says" if key in there else "it is missing"
                self._checkup.note("events", f"alias {key[1]}:{key[2]}", problem)

    def _note_marks(self) -> None:
        session = self._checkup.session
        marked = {
            ("evaluation", str(id))
            for id in session.scalars(select(t.Evaluation.id).where(t.Evaluation.deleted_at.is_not(None)))
        }
        for kind, owner, version, column in OWNED:
            query = select(owner.name, version.number).join(owner, owner.id == column)
            for name, number in session.execute(query.where(version.deleted_at.is_not(None))):
                marked.add((kind, f"{name}:v{number}"))
        for kind, name in sorted(marked ^ self._deleted):
            said = "its deletion is in no event" if (kind, name) in marked else "an event deleted it, and it is there"
            self._checkup.note("events", f"{kind} {name}", said)

    def _note_without_run(self) -> None:
        # A model has no run of its own where something else used it first.
        tables: dict[str, Any] = {
            "dataset": t.DatasetVersion,
            "vector": t.VectorVersion,
            "evaluation": t.Evaluation,
            "plan": t.Plan,
        }
        for kind, table in tables.items():
            made = select(t.RunIO.object_id).where(t.RunIO.kind == kind, t.RunIO.direction == "output")
            for id in self._checkup.session.scalars(select(table.id).where(table.id.not_in(made)).order_by(table.id)):
                self._checkup.note("events", f"{kind} {id}", "no run made it: it was not written by caa")
