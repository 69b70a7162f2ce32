"""What an operation is: a name, its parameters, and the rows that it makes of others.

The parameters of an operation are the fields of its dataclass. Each field carries the check of its values, since a
recipe may be somebody else's::

    @dataclass(frozen=True)
    class Sample(Operation):
        name = "sample"
        n: int = field(metadata=POSITIVE)
        seed: int = field(default=SEED, metadata=WHOLE)

        def run(self, sets, progress=None): ...

An operation is one class, and one entry in ``curation/operations.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from caa_registry.digests import DIGEST, floats_as_text
from caa_registry.display.records import Record
from caa_registry.errors import InputError, UsageError
from caa_registry.pairs.curation.result import CurationResult
from caa_registry.pairs.record import GENERATE, PairItem, check_split_name
from caa_registry.pairs.turns import is_turns_json
from caa_registry.progress import Progress

Items = Sequence[PairItem]

SEED = 0
MOST_SETS = 1000


@dataclass(frozen=True)
class Operation(Record, ABC):
    """One step of curation. ``takes``: how many sets at least and at most; ``joins``: whether the result holds rows of
    all of them, rather than of the first.

    Floats become text, as they are stored: digests take no floats. Raises ``InputError`` naming the parameter for a
    value that it does not take.
    """

    name: ClassVar[str]
    takes: ClassVar[tuple[int, int]] = (1, 1)
    joins: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for parameter in fields(self):
            object.__setattr__(self, parameter.name, floats_as_text(getattr(self, parameter.name)))
        check_values(type(self), self.parameters)

    @abstractmethod
    def run(self, sets: Sequence[Items], progress: Progress | None = None) -> CurationResult:
        """The rows that the operation makes of ``sets``. As a multiset of pairs with their splits it depends neither on
        the order of rows nor on the process or the machine."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters as JSON."""
        return {parameter.name: getattr(self, parameter.name) for parameter in fields(self)}


def check_values(operation: type[Operation], parameters: Mapping[str, Any], source: str = "") -> None:
    """``InputError`` naming the first parameter whose value the operation does not take."""
    for parameter in fields(operation):
        value = parameters[parameter.name]
        if not parameter.metadata["check"](value):
            raise InputError(
                f"{operation.name} does not take {value!r:.60}", source=source, field=f"parameters.{parameter.name}"
            )


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53


def _positive(value: Any) -> bool:
    return _whole(value) and value > 0


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _share(value: Any) -> bool:
    try:
        return isinstance(value, str) and 0 <= float(value) <= 1
    except ValueError:
        return False


def _digest(value: Any) -> bool:
    return isinstance(value, str) and DIGEST.fullmatch(value) is not None


def _digests(value: Any) -> bool:
    return isinstance(value, list) and all(map(_digest, value))


def _split_name(value: Any) -> bool:
    try:
        check_split_name(value if isinstance(value, str) else "")
    except UsageError:
        return False
    return True


def _rows(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(row, dict) and set(row) == {"pair", "split"} and _digest(row["pair"]) and _text(row["split"])
        for row in value
    )


def _items(value: Any) -> bool:
    texts = {"prompt", "positive", "negative", "system", "split"}
    return isinstance(value, list) and all(
        isinstance(row, dict)
        and {"positive", "negative"} <= set(row) <= {*texts, "turns", "metadata"}
        and all(_text(row[name]) for name in texts & set(row))
        and _split_name(row.get("split", GENERATE))
        and isinstance(row.get("metadata", {}), dict)
        and is_turns_json(row.get("turns", []))
        for row in value
    )


def _changes(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(change, dict)
        and set(change) == {"pair", "split", "to", "drop"}
        and _rows([{"pair": change["pair"], "split": change["split"]}])
        and _items(change["to"])
        and _whole(change["drop"])
        and change["drop"] >= 0
        for change in value
    )


def checked_by(check: Callable[[Any], bool]) -> dict[str, Callable[[Any], bool]]:
    """The metadata of a field whose values ``check`` accepts."""
    return {"check": check}


def optional(metadata: Mapping[str, Callable[[Any], bool]]) -> dict[str, Callable[[Any], bool]]:
    """The metadata of a field that may be ``None`` too."""
    check = metadata["check"]
    return checked_by(lambda value: value is None or check(value))


TEXT = checked_by(_text)
WHOLE = checked_by(_whole)
POSITIVE = checked_by(_positive)
FLAG = checked_by(_flag)
# A number from 0 to 1, as text.
SHARE = checked_by(_share)
DIGESTS = checked_by(_digests)
# Pairs by digest, each with its split.
ROWS = checked_by(_rows)
# Whole rows: their texts, split and metadata.
ITEMS = checked_by(_items)
# What becomes of rows: see ``changing.Edit``.
CHANGES = checked_by(_changes)
