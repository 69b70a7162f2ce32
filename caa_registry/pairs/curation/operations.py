"""The operations by name, read from what a recipe says, and performed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from caa_registry.errors import InputError
from caa_registry.extensions import Extensions
from caa_registry.pairs.curation.changing import Balance, Edit, Relabel, Split
from caa_registry.pairs.curation.choosing import Dedupe, Drop, Filter, Keep, Merge, Sample
from caa_registry.pairs.curation.forms import ToAB, ToFreeForm
from caa_registry.pairs.curation.operation import Items, Operation, check_values
from caa_registry.pairs.curation.result import CurationResult
from caa_registry.pairs.curation.templates import Expand
from caa_registry.progress import Progress
from caa_registry.wording import count

__all__ = [
    "OPERATIONS",
    "Balance",
    "Dedupe",
    "Drop",
    "Edit",
    "Expand",
    "Filter",
    "Keep",
    "Merge",
    "Operation",
    "Relabel",
    "Sample",
    "Split",
    "ToAB",
    "ToFreeForm",
    "operation_of",
    "perform",
]

OPERATIONS: Extensions[type[Operation]] = Extensions(
    "operation",
    {
        operation.name: operation
        for operation in (
            Split, Dedupe, Balance, Filter, Sample, Merge, Relabel, Edit, Drop, Keep, ToAB, ToFreeForm, Expand
        )
    },
)  # fmt: skip
"""Every operation by the name that recipes give it."""


def operation_of(name: Any, parameters: Any, n_inputs: int, *, source: str = "") -> Operation:
    """The operation of that name with these parameters, as a recipe states them, whoever wrote it.

    ``source`` names the recipe in errors. Raises ``InputError`` naming the field.
    """
    if not isinstance(name, str) or name not in OPERATIONS:
        raise InputError(
            f"there is no operation {name!r}", f"Operations: {', '.join(OPERATIONS)}.", source=source, field="name"
        )
    operation = OPERATIONS[name]
    if not isinstance(parameters, dict):
        raise InputError("has to be an object", source=source, field="parameters")
    known = [parameter.name for parameter in fields(operation)]
    for key in (*known, *parameters):
        field = f"parameters.{key}"
        if key not in known:
            raise InputError(f"{name} has no such parameter", source=source, field=field)
        if key not in parameters:
            raise InputError(f"{name} needs it", source=source, field=field)
    check_values(operation, parameters, source)
    check_sets(operation, n_inputs, source)
    return operation(**parameters)


def check_sets(operation: type[Operation], n: int, source: str = "") -> None:
    """``InputError`` unless the operation takes ``n`` sets."""
    least, most = operation.takes
    if not least <= n <= most:
        raise InputError(f"{operation.name} does not take {count(n, 'set')}", source=source, field="inputs")


def perform(operation: Operation, sets: Sequence[Items], progress: Progress | None = None) -> CurationResult:
    """Run an operation on ``sets``. Raises ``InputError``, and ``UsageError`` for parameters that contradict one
    another."""
    check_sets(type(operation), len(sets))
    # Rows are told apart as objects, so that each is one of its own.
    return operation.run([[replace(item) for item in items] for items in sets], progress)
