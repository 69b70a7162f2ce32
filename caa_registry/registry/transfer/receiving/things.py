"""Documents into rows: in one write transaction, each behind what it needs, and read again before it counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.blobs.store import check_kept
from caa_registry.catalog import models as t
from caa_registry.catalog.events import append_event
from caa_registry.digests import digest_object
from caa_registry.errors import InputError
from caa_registry.pairs.statistics import statistics_json
from caa_registry.references import check_new_name
from caa_registry.registry.datasets import store as datasets
from caa_registry.registry.evaluations import store as evaluations
from caa_registry.registry.models import ensure_model
from caa_registry.registry.provenance.runs import RECEIVED, Arrow, digest_of_arrows
from caa_registry.registry.rows import RESPONSE
from caa_registry.registry.transfer.documents.key import Key
from caa_registry.registry.transfer.documents.run import RunDocument
from caa_registry.registry.transfer.documents.things import (
    DatasetDocument,
    Document,
    EvaluationDocument,
    ModelDocument,
    PlanDocument,
    VectorDocument,
)
from caa_registry.registry.transfer.receiving.described import set_described
from caa_registry.registry.transfer.receiving.present import Present
from caa_registry.registry.vectors import store as vectors
from caa_registry.registry.workspace import Workspace


@dataclass
class Receiver:
    """One write transaction of a registry that takes things in.

    ``origin``: where they come from, as it may be shown. ``there``: what the registry has, and what was added; ``new``:
    the ids of what was added, by kind. ``renamed``: plans that got another name.
    """

    workspace: Workspace
    session: Session
    origin: str
    there: dict[Key, Present]
    new: dict[str, list[int]] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)

    def id_of(self, key: Key, document: Document | None = None) -> int:
        """The id of what ``key`` names. Raises ``InputError`` where neither the registry has it nor the parcel."""
        found = self.there.get(key)
        if found is None:
            which = f"{document.key} needs {key}" if document is not None else f"it is about {key}"
            raise InputError(f"{which}, which is missing", "Have it sent again.", source=self.origin)
        return found.id

    def add(self, document: Document) -> None:
        """Store what the document holds, unless the registry has it. What was deleted here and is sent again is brought
        back, but for evaluations: they come along with their vector, and nobody asked for that one."""
        found = self.there.get(document.key)
        if found is not None and (not found.deleted or document.key.kind == "evaluation"):
            return
        readers: Mapping[type, Callable[[Any, Present | None], int]] = {
            DatasetDocument: self._dataset,
            ModelDocument: self._model,
            VectorDocument: self._vector,
            PlanDocument: self._plan,
            EvaluationDocument: self._evaluation,
        }
        id = readers[type(document)](document, found)
        self.there[document.key] = Present(id, False)
        self.new.setdefault(document.key.kind, []).append(id)

    def _dataset(self, document: DatasetDocument, deleted: Present | None) -> int:
        name = document.key.name
        if deleted is not None:
            row = self.session.get_one(t.DatasetVersion, deleted.id)
            datasets.bring_back(self.session, self.workspace.actor, name, row, document.items)
            return row.id
        owner = datasets.owner(self.session, name, document.holds)
        version = t.DatasetVersion(
            dataset_id=owner.id,
            digest=document.key.digest,
            message=document.message,
            source=dict(document.source),
            licence=document.licence,
            statistics=statistics_json(document.items),
            items_digest=datasets.digest_of_items(document.items),
            actor=document.run.actor,
            created_at=document.created_at,
            unchecked_before=document.unchecked_before,
        )
        datasets.add(self.session, version, document.items)
        self._record(
            document,
            ("dataset", version.id),
            f"{name}:v{document.number}",
            {"dataset": f"{name}:v{version.number}", "digest": version.digest},
        )
        set_described(self.session, self.workspace.actor, "dataset", version, document.described)
        return version.id

    def _model(self, document: ModelDocument, _: Present | None) -> int:
        row, _created = ensure_model(self.session, document.info)
        return row.id

    def _vector(self, document: VectorDocument, deleted: Present | None) -> int:
        name = document.key.name
        check_kept(self.workspace.blobs, document.blob)
        if deleted is not None:
            row = self.session.get_one(t.VectorVersion, deleted.id)
            check_kept(self.workspace.blobs, row.blob_digest)
            row.deleted_at = None
            subject = {"vector": f"{name}:v{row.number}", "digest": row.digest}
            append_event(self.session, self.workspace.actor, "undelete", subject)
            return row.id
        version = t.VectorVersion(
            vector_id=vectors.owner_of(self.session, name).id,
            digest=document.key.digest,
            tensor_digest=document.tensor_digest,
            dataset_version_id=self.id_of(document.dataset, document) if document.dataset else None,
            model_id=self.id_of(document.model, document) if document.model else None,
            recipe=dict(document.recipe) if document.recipe is not None else None,
            origin=dict(document.origin) if document.origin is not None else None,
            blob_digest=document.blob,
            d_model=document.d_model,
            message=document.message or None,
            actor=document.run.actor,
            created_at=document.created_at,
            unchecked_before=document.unchecked_before,
        )
        rows = [
            t.VectorLayer(
                layer=layer.layer,
                offset=layer.offset,
                nbytes=layer.nbytes,
                sha256=layer.sha256,
                norm=layer.norm,
                residual_norm=layer.residual_norm,
                quality=layer.quality.as_json() if layer.quality else None,
            )
            for layer in document.layers
        ]
        vectors.add_rows(self.session, version, rows)
        self._record(
            document,
            ("vector", version.id),
            f"{name}:v{document.number}",
            {"vector": f"{name}:v{version.number}", "digest": version.digest},
        )
        set_described(self.session, self.workspace.actor, "vector", version, document.described)
        return version.id

    def _plan(self, document: PlanDocument, _: Present | None) -> int:
        if digest_object("plan", dict(document.terms)) != document.key.digest:
            raise InputError(f"the terms of plan {document.name} are not those of its digest", source=self.origin)
        name = self._free_plan_name(document.name)
        plan = t.Plan(
            name=name,
            digest=document.key.digest,
            terms=dict(document.terms),
            actor=document.actor,
            created_at=document.created_at,
            unchecked_before=document.unchecked_before,
        )
        self.session.add(plan)
        self.session.flush()
        subject = {"plan": name, "plan_digest": plan.digest}
        self._record(document, ("plan", plan.id), document.name, subject)
        return plan.id

    def _free_plan_name(self, name: str) -> str:
        """``name``, or where a plan of other terms has it, the first of ``name-2``, ``name-3`` ... that is free."""
        check_new_name(name)
        tried, number = name, 1
        while self.session.scalar(select(t.Plan.id).where(t.Plan.name == tried)) is not None:
            number += 1
            tried = f"{name}-{number}"
        if tried != name:
            self.renamed[name] = tried
        return tried

    def _evaluation(self, document: EvaluationDocument, _: Present | None) -> int:
        if document.measurements is not None:
            check_kept(self.workspace.blobs, document.measurements)
        evaluation = t.Evaluation(
            kind=document.measures,
            vector_version_id=self.id_of(document.vector, document),
            dataset_version_id=self.id_of(document.dataset, document) if document.dataset else None,
            split=document.split,
            model_id=self.id_of(document.model, document),
            metric=document.metric,
            positions=document.positions,
            template=document.template,
            parameters=dict(document.parameters),
            measurements=document.measurements,
            created_at=document.created_at,
            unchecked_before=document.unchecked_before,
        )
        responses = [t.Response(**dict(zip(RESPONSE, row, strict=True))) for row in document.responses]
        evaluations.add(self.session, evaluation, document.scores, responses)
        reference = self.session.get_one(t.VectorVersion, evaluation.vector_version_id)
        name = self.session.get_one(t.Vector, reference.vector_id).name
        self._record(
            document,
            ("evaluation", evaluation.id),
            f"evaluation {document.number}",
            {
                "evaluation": evaluation.id,
                "vector": f"{name}:v{reference.number}",
                "evaluation_digest": document.key.digest,
            },
            document.not_confirmatory,
        )
        return evaluation.id

    def _record(
        self,
        document: DatasetDocument | VectorDocument | PlanDocument | EvaluationDocument,
        thing: tuple[str, int],
        theirs: str,
        subject: Mapping[str, Any],
        doubt: str = "",
    ) -> None:
        """The run that made it, as it was, with where it was received from, and the event that tells of it."""
        run: RunDocument = document.run
        hop = {"from": self.origin, "reference": theirs, "run": run.number}
        if doubt:
            hop["not_confirmatory"] = doubt
        before = run.environment.get(RECEIVED, [])
        arrows: list[Arrow] = [("input", key.kind, self.id_of(key, document), role) for key, role in run.inputs]
        arrows.append(("output", *thing, run.role))
        row = t.Run(
            kind=run.kind,
            parameters=dict(run.parameters),
            environment={**run.environment, RECEIVED: [*(before if isinstance(before, list) else []), hop]},
            actor=run.actor,
            started_at=run.started_at,
            finished_at=run.finished_at,
            arrows_digest=digest_of_arrows(list(dict.fromkeys(arrows))),
        )
        self.session.add(row)
        self.session.flush()
        self.session.add_all(
            t.RunIO(run_id=row.id, direction=side, kind=kind, object_id=id, role=role)
            for side, kind, id, role in dict.fromkeys(arrows)
        )
        told = {"run": row.id, **subject, "from": self.origin, "theirs": theirs}
        append_event(self.session, self.workspace.actor, "receive", told)
