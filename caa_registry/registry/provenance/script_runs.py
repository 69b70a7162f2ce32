"""Runs of a user's own script: what it says that it read and made, and the runs that it started."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from caa_registry.errors import CaaError, UsageError
from caa_registry.pairs.record import checked_text
from caa_registry.registry.provenance.lineage import Thing
from caa_registry.registry.provenance.named import find
from caa_registry.registry.provenance.runs import SCRIPT, Activity, failure_of, record_run, within
from caa_registry.registry.workspace import Workspace
from caa_registry.wording import with_article

if TYPE_CHECKING:
    from caa_registry.registry.records import DatasetVersion, Evaluation, VectorVersion

    Referred = str | DatasetVersion | VectorVersion | Evaluation


@dataclass
class ScriptRun:
    """A step of a script, under way. What the registry does meanwhile, in the same thread, belongs to it.

    ``parameters``: what it ran with and found; JSON, and it may be added to until the step ends. ``number``: of the
    run, once it has ended.
    """

    name: str
    parameters: dict[str, Any]
    _workspace: Workspace = field(repr=False)
    number: int | None = None
    _things: dict[tuple[str, Thing], None] = field(default_factory=dict, repr=False)

    def reads(self, *references: Referred) -> None:
        """Declare what the step reads: dataset and vector versions, evaluations (``evaluation:7``). Raises
        ``NotFoundError``, ``UsageError``."""
        self._declare("input", references)

    def made(self, *references: Referred) -> None:
        """Declare what came of the step. Raises ``NotFoundError``, ``UsageError``."""
        self._declare("output", references)

    def _declare(self, side: str, references: Sequence[Referred]) -> None:
        from caa_registry.registry.records import DatasetVersion, Evaluation

        with self._workspace.database.read() as session:
            for each in references:
                if isinstance(each, str):
                    reference = each
                elif isinstance(each, Evaluation):
                    reference = f"evaluation:{each.id}"
                else:
                    kind = "dataset" if isinstance(each, DatasetVersion) else "vector"
                    reference = f"{kind}:{each.reference}"
                self._things[side, find(session, reference).thing] = None

    @property
    def declared(self) -> tuple[list[Thing], list[Thing]]:
        """What was declared as read, and as made, by kind and id."""
        inputs, outputs = ([thing for of, thing in self._things if of == side] for side in ("input", "output"))
        return inputs, outputs


@contextmanager
def script_run(
    workspace: Workspace, name: str, inputs: Sequence[Referred], parameters: Mapping[str, Any]
) -> Iterator[ScriptRun]:
    """See ``Registry.run``."""
    if not checked_text(name, field="name").strip():
        raise UsageError("a run needs a name", "Say what the step does.")
    workspace.database.check_writable()
    run = ScriptRun(name, dict(parameters), workspace)
    _check(run.parameters)
    run.reads(*inputs)
    activity, token = Activity(SCRIPT, workspace.actor, {}), uuid4().hex
    try:
        with within(token):
            yield run
        _check(run.parameters)
    except BaseException as error:
        # Whatever prevents this, such as a full disk, is what failed already.
        with suppress(Exception):
            _store(workspace, run, activity, token, failure_of(error))
        raise
    _store(workspace, run, activity, token, None)


def _check(value: object, place: str = "parameters") -> None:
    """Raise ``UsageError`` unless ``value`` is JSON that every database can hold, naming the place."""
    if isinstance(value, str):
        checked_text(value, field=place)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            if not isinstance(key, str):
                raise UsageError(f"{place} has the key {key!r}", "Keys are texts.")
            _check(each, f"{place}.{checked_text(key, field=place)}")
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            _check(each, f"{place}[{number}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{place} is {value}, which JSON has no number for", "Leave it out, or write it as a text.")
    elif not isinstance(value, bool | int | float | None):
        raise UsageError(f"{place} is {with_article(type(value).__name__)}", "Give numbers, texts, lists and dicts.")


def _store(workspace: Workspace, run: ScriptRun, activity: Activity, token: str, failure: str | None) -> None:
    parameters: dict[str, Any] = {"name": run.name, "token": token}
    try:
        _check(run.parameters)
        parameters["parameters"] = run.parameters
    except CaaError:
        pass  # the failure says what is wrong with them
    inputs, outputs = run.declared
    with workspace.database.write() as session:
        run.number = record_run(
            session,
            replace(activity, parameters=parameters),
            inputs=inputs,
            outputs=outputs,
            subject={"script": run.name},
            failure=failure,
        )
