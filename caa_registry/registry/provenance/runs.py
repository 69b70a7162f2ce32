"""Recorded activities: every arrow between pairs, vectors and scores is one."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.events import append_event
from caa_registry.catalog.integrity.damage import damaged
from caa_registry.catalog.integrity.row_digests import digest_of_rows
from caa_registry.errors import CaaError, UsageError, one_line
from caa_registry.registry.provenance.git_state import git_state
from caa_registry.registry.workspace import Workspace
from caa_registry.wording import with_article

_PACKAGES = (
    "caa-registry",
    "mlx",
    "mlx-cpu",
    "mlx-metal",
    "mlx-cuda-12",
    "mlx-lm",
    "transformers",
    "tokenizers",
    "numpy",
)


SCRIPT = "script"
"""The kind of the runs of users' own scripts."""

_WITHIN: ContextVar[str] = ContextVar("within", default="")
# What the environment of a run holds beside the machine: the caller's git repository, and the run that it belongs to.
_GIT, _TOKEN = "git", "within"
RECEIVED = "received"
"""What of the environment says from where a run was received, hop by hop."""
_LONGEST_FAILURE = 1000

# What of a run's arrows its digest covers.
Arrow = tuple[str, str, int, str]


@dataclass(frozen=True)
class Activity:
    """A run under way: what it does, for whom, since when, and the state of the caller's git repository then."""

    kind: str
    actor: str
    parameters: Mapping[str, Any]
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    git: Mapping[str, Any] | None = field(default_factory=git_state)


def record_run(
    session: Session,
    activity: Activity,
    *,
    inputs: Sequence[tuple[str, int]] = (),
    outputs: Sequence[tuple[str, int]] = (),
    subject: Mapping[str, Any],
    roles: Mapping[tuple[str, int], str] = {},
    failure: str | None = None,
) -> int:
    """Write the run, its inputs and outputs as (kind, id), and the audit event, in the caller's transaction. ``roles``:
    what an object is to the run, for those who look for its runs of that sort. ``failure``: what it failed of.

    Raises ``UsageError`` where something was made of what somebody has deleted meanwhile.
    """
    if outputs:
        _check_present(session, inputs)
    sides = (("input", inputs), ("output", outputs))
    arrows = [(side, kind, id, roles.get((kind, id), "")) for side, things in sides for kind, id in things]
    run = t.Run(
        kind=activity.kind,
        parameters=dict(activity.parameters),
        environment=_circumstances(activity),
        actor=activity.actor,
        started_at=activity.started_at,
        finished_at=datetime.now(UTC),
        failure=failure,
        arrows_digest=digest_of_arrows(arrows),
    )
    session.add(run)
    session.flush()
    session.add_all(
        t.RunIO(run_id=run.id, direction=side, kind=kind, object_id=id, role=role) for side, kind, id, role in arrows
    )
    told = {"run": run.id, **subject} if failure is None else {"run": run.id, **subject, "failure": failure}
    append_event(session, activity.actor, activity.kind, told)
    return run.id


def digest_of_arrows(arrows: Sequence[Arrow]) -> str | None:
    """The digest of what a run read and made, as (direction, kind, id, role), in any order; ``None`` for nothing."""
    return digest_of_rows("run_io", sorted(arrows)) if arrows else None


def check_arrows(run: t.Run, arrows: Sequence[Arrow]) -> None:
    """Raise ``IntegrityError`` unless ``arrows`` are those that were stored with ``run``."""
    if digest_of_arrows(arrows) != run.arrows_digest:
        raise damaged(f"run {run.id}", "what it read and made is not what was stored")


def _check_present(session: Session, things: Sequence[tuple[str, int]]) -> None:
    tables: Mapping[str, Any] = {"dataset": t.DatasetVersion, "vector": t.VectorVersion, "evaluation": t.Evaluation}
    for kind in sorted({kind for kind, _ in things} & tables.keys()):
        table = tables[kind]
        ids = [id for of, id in things if of == kind]
        if session.scalar(select(table.id).where(table.id.in_(ids), table.deleted_at.is_not(None)).limit(1)):
            raise UsageError(
                f"{with_article(kind)} that this was made from was deleted meanwhile",
                "Nothing was stored. caa log shows who deleted it; caa undelete brings it back.",
            )


@contextmanager
def failure_kept(
    workspace: Workspace,
    activity: Activity,
    *,
    inputs: Sequence[tuple[str, int]],
    subject: Mapping[str, Any],
    expected: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Keep that the activity failed, with what it read, where what is done here raises or is interrupted.

    What is refused (``UsageError``) never began, and what is ``expected`` is no failure. Of several processes the first
    writes. Raises ``RegistryError`` before anything is done where the registry may not be written.
    """
    from caa_registry.engine import processes

    workspace.database.check_writable()
    no_failure: tuple[type[BaseException], ...] = (UsageError, *expected)
    try:
        yield
    except no_failure:
        raise
    except BaseException as error:
        # Whatever prevents this, such as a full disk, is what failed already.
        with suppress(Exception):
            if processes.rank() == 0:
                with workspace.database.write() as session:
                    record_run(session, activity, inputs=inputs, subject=subject, failure=failure_of(error))
        raise


def failure_of(error: BaseException) -> str:
    """``error`` in words, as a run keeps it."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    text = error.message if isinstance(error, CaaError) else f"{type(error).__name__}: {error}".removesuffix(": ")
    # What a database cannot hold may stand in a message too.
    return one_line(text.encode("utf-8", "replace").decode(), _LONGEST_FAILURE)


@contextmanager
def within(token: str) -> Iterator[None]:
    """What is recorded in this thread while the context lasts belongs to the run with this token."""
    before = _WITHIN.set(token)
    try:
        yield
    finally:
        _WITHIN.reset(before)


def _circumstances(activity: Activity) -> dict[str, Any]:
    facts = environment()
    if activity.git is not None:
        facts[_GIT] = dict(activity.git)
    if token := _WITHIN.get():
        facts[_TOKEN] = token
    return facts


def machine(environment: Mapping[str, Any]) -> dict[str, Any]:
    """What of a run's environment says on what it ran: all but what called it, and how it came here."""
    return {key: value for key, value in environment.items() if key not in (_GIT, _TOKEN, RECEIVED)}


def environment() -> dict[str, Any]:
    """Where a run ran: platform, Python, package versions, and the device if MLX is loaded. No paths, no user data."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    facts: dict[str, Any] = {
        "platform": platform.system(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "packages": versions,
    }
    if "caa_registry.mx" in sys.modules:
        from caa_registry import blas
        from caa_registry.mx import mx

        facts["device"] = "gpu" if mx.default_device() == mx.Device(mx.gpu) else "cpu"
        # Results depend on the library, its kernels and its threads in the last digits.
        used = blas.status()
        if used.library is None:
            facts["blas"] = {"library": "MLX's own"}
        else:
            library = {"library": used.library, "version": used.version, "kernel": used.kernel}
            facts["blas"] = {**library, "threads": blas.threads()}
    return facts
