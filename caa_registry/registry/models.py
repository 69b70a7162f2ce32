"""Models the registry knows, and loading them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.events import append_event
from caa_registry.catalog.filters import storable, tagged
from caa_registry.catalog.search import entries
from caa_registry.catalog.search.words import indexed
from caa_registry.errors import NotFoundError, UsageError
from caa_registry.models.folder.fingerprint import Fingerprint, ModelInfo
from caa_registry.registry.records import Listing, ModelRecord, check_limit
from caa_registry.registry.rows import model_info
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.models.model import Model

Part = Literal["weights", "config", "tokenizer", "chat_template", "files", "adapter"]
PARTS: tuple[Part, ...] = ("weights", "config", "tokenizer", "chat_template")
MORE: tuple[Part, ...] = ("files", "adapter")

_log = logging.getLogger(__name__)


class Models:
    """The models of a registry. Their weights stay where they are: a folder or a hub."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def load(
        self,
        model: str | Path,
        *,
        revision: str | None = None,
        dtype: str | None = None,
        adapter: str | Path | None = None,
    ) -> Model:
        """Load a model: a folder, ``ORG/NAME`` on a hub, or ``demo``, with a LoRA ``adapter`` on top if a folder of one
        is given. Writes nothing.

        A name that ``ls`` shows is found where it was when it was added. See ``models.loading.load``.
        """
        from caa_registry.models.loading import DEMO_MODEL, is_place, load

        text = str(model)
        # Folders, repositories and demo mean what they say; the catalogue is asked for other names only.
        if not is_place(text):
            known = self._by_name(text)
            if known is not None and (text.startswith("sha256:") or known.info.adapter_path is not None):
                # A fingerprint means that very model, also where its repository has moved on.
                return self.load_recorded(known.info, dtype=dtype, adapter=adapter)
            if known is not None and known.info.path is not None:
                model = known.info.path
        if revision is not None and (text == DEMO_MODEL or Path(model).exists()):
            raise UsageError(f"{text} is not on a hub, so it has no revision {revision}", "Leave the revision out.")
        return load(model, revision=revision, dtype=dtype, adapter=adapter)

    def load_recorded(self, info: ModelInfo, *, dtype: str | None = None, adapter: str | Path | None = None) -> Model:
        """Load a model the registry has recorded: from its folder, or from the hub at the recorded commit, with the
        recorded adapter or the one that is given."""
        from caa_registry.models.loading import load

        return load(self.where(info), revision=info.revision, dtype=dtype, adapter=adapter or info.adapter_path)

    def add(
        self, model: str | Path | Model, *, revision: str | None = None, adapter: str | Path | None = None
    ) -> ModelRecord:
        """Record a model's identity. Adding it again returns the same record, with the folder where it is now."""
        from caa_registry.registry.provenance.runs import Activity, record_run

        loaded = self.load(model, revision=revision, adapter=adapter) if isinstance(model, str | Path) else model
        activity = Activity("add-model", self._workspace.actor, {"model": loaded.info.name})
        with self._workspace.database.write() as session:
            row, created = ensure_model(session, loaded.info)
            subject = {"model": loaded.info.name, "fingerprint": loaded.info.fingerprint.digest}
            if created:
                record_run(session, activity, outputs=[("model", row.id)], subject=subject)
            elif (moved := _place(loaded.info)) != _place(model_info(row)) and moved != (None, None):
                subject |= {"from": row.path or "", "to": loaded.info.path or ""}
                row.path, row.adapter_path = moved
                session.flush()
                append_event(session, self._workspace.actor, "move-model", subject)
            return _records(session, [row])[0]

    def ls(self, *, tags: Mapping[str, str] | None = None, limit: int | None = None) -> Listing[ModelRecord]:
        """All models, in the order in which they came; the first ``limit`` of them. ``tags``: only models of vector
        versions that have all of these."""
        query = select(t.Model).order_by(t.Model.id)
        if tags:
            version = t.VectorVersion
            query = query.where(t.Model.id.in_(select(version.model_id).where(tagged(tags, version))))
        check_limit(limit)
        with self._workspace.database.read() as session:
            records = _records(session, list(session.scalars(query.limit(limit))))
            total = len(records)
            if limit is not None:
                counted = query.order_by(None).with_only_columns(t.Model.id).subquery()
                total = session.scalar(select(func.count()).select_from(counted)) or 0
        return Listing(tuple(records), total)

    def get(self, name: str) -> ModelRecord:
        """The model of that name, hub repository or fingerprint (``sha256:`` and at least 8 digits).

        Raises ``NotFoundError`` where there is none, ``UsageError`` where several fit.
        """
        record = self._by_name(name)
        if record is None:
            raise NotFoundError(f"the registry knows no model {name}", self._known())
        return record

    def verify(
        self, name: str, *, place: str | Path | None = None, adapter: str | Path | None = None
    ) -> dict[Part, bool]:
        """Compare what is stored of a model with its files now, part by part; every byte of them is read again.
        ``place`` and ``adapter``: where they are, by default where they were last seen.

        Weights that lie in other files than before are as recorded where every tensor is. Raises ``CaaError`` as
        ``load`` does.
        """
        from caa_registry.models.loading import identify

        info = self.get(name).info
        stored = info.fingerprint
        now = identify(place or self.where(info), revision=info.revision, adapter=adapter or info.adapter_path)
        same = {part: getattr(stored, part) == getattr(now, part) for part in PARTS}
        # Only where there is anything of the kind. An earlier version, which knew no tensors, did not look for it.
        known = [stored] if stored.tensors is None else [stored, now]
        same |= {
            part: getattr(stored, part) == getattr(now, part)
            for part in MORE
            if any(getattr(each, part) is not None for each in known)
        }
        if not same["weights"] and stored.tensors is not None:
            same["weights"] = stored.tensors == now.tensors
            if same["weights"]:
                _log.warning(
                    "%s: its weights lie in other files than when it was recorded; every tensor is the same.", name
                )
        elif not same["weights"]:
            _log.warning(
                "%s was recorded by an earlier version, so the same weights in other files count as different.", name
            )
        return same

    @staticmethod
    def where(info: ModelInfo) -> str:
        """Where a recorded model is loaded from: its folder, its hub repository, or its name (``demo``)."""
        return info.path or info.repo_id or info.name

    def _known(self) -> str:
        with self._workspace.database.read() as session:
            names = sorted(set(session.scalars(select(t.Model.name))))
        return f"It knows {', '.join(names)}." if names else "Add it: caa model add PATH_OR_REPO"

    def _by_name(self, name: str) -> ModelRecord | None:
        if not storable(name):
            return None  # a path that is no Unicode is nobody's name
        query = select(t.Model).order_by(t.Model.id.desc())
        if name.startswith("sha256:") and len(name) >= 15:
            query = query.where(t.Model.fingerprint.startswith(name, autoescape=True))
        else:
            query = query.where((t.Model.name == name) | (t.Model.repo_id == name))
        with self._workspace.database.read() as session:
            rows = list(session.scalars(query))
            if len(rows) > 1:
                digests = ", ".join(row.fingerprint[:19] for row in rows)
                raise UsageError(f"{len(rows)} models are called {name}", f"Give a fingerprint: {digests}.")
            return _records(session, rows)[0] if rows else None


def ensure_model(session: Session, info: ModelInfo) -> tuple[t.Model, bool]:
    """The row of a model, written if it is not there yet, and whether it was written."""
    digest = info.fingerprint.digest
    row = session.scalar(select(t.Model).where(t.Model.fingerprint == digest))
    parts: Fingerprint = info.fingerprint
    if row is not None:
        if row.tensors is None and parts.tensors is not None:
            row.tensors = parts.tensors  # of a model that an earlier version recorded
            session.flush()
        return row, False
    row = t.Model(
        name=info.name,
        fingerprint=digest,
        weights=parts.weights,
        config=parts.config,
        tokenizer=parts.tokenizer,
        chat_template=parts.chat_template,
        tensors=parts.tensors,
        files=parts.files,
        adapter=parts.adapter,
        architecture=info.architecture,
        n_layers=info.n_layers,
        d_model=info.d_model,
        context_length=info.context_length,
        quantization=info.quantization or {},
        repo_id=info.repo_id,
        revision=info.revision,
        path=info.path,
        adapter_path=info.adapter_path,
        created_at=datetime.now(UTC),
    )
    session.add(row)
    session.flush()
    entries.add(session, [(("model_id", row.id, None), indexed(row.name, row.repo_id, row.architecture))])
    return row, True


def _place(info: ModelInfo) -> tuple[str | None, str | None]:
    return info.path, info.adapter_path


def _records(session: Session, rows: Sequence[t.Model]) -> list[ModelRecord]:
    count = select(t.VectorVersion.model_id, func.count()).group_by(t.VectorVersion.model_id)
    vectors = {row[0]: row[1] for row in session.execute(count)}
    return [ModelRecord(row.id, model_info(row), row.created_at, vectors.get(row.id, 0)) for row in rows]
