"""Tables of what can be extended: things of one kind by name, to which a program may add its own."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any, TypeVar

from caa_registry.errors import UsageError

T = TypeVar("T")

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


class Extensions(Mapping[str, T]):
    """Things of one ``kind`` by name, in the order in which they were registered.

    What is costly to import stands here as a reference, ``"module:attribute"``, so that its name can be offered
    before it is used; ``resolve`` follows it.
    """

    def __init__(self, kind: str, things: Mapping[str, T]) -> None:
        self._kind = kind
        self._things = dict(things)

    def __getitem__(self, name: str) -> T:
        return self._things[name]

    def __iter__(self) -> Iterator[str]:
        # Over a copy: another thread may register something meanwhile.
        return iter(tuple(self._things))

    def __len__(self) -> int:
        return len(self._things)

    def named(self, name: str) -> T:
        """The thing of that name. Raises ``UsageError`` with the names there are."""
        if name not in self._things:
            raise UsageError(f"there is no {self._kind} {name!r}", f"Choose one of {', '.join(self)}.")
        return self._things[name]

    def register(self, name: str, thing: T) -> ExitStack:
        """Add ``thing``. It stays until the returned object is closed, or left as a ``with`` block.

        Raises ``UsageError`` for a name that is taken, or that holds more than lower-case letters, digits and ``._-``.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(f"{self._kind} {name!r}: not a usable name", "Use a-z, 0-9, '.', '_' and '-'.")
        if name in self._things:
            raise UsageError(f"the {self._kind} {name!r} exists already", "Choose another name.")
        self._things[name] = thing
        registration = ExitStack()
        registration.callback(self._things.pop, name)
        return registration


def resolve(reference: str) -> Any:
    """What ``"module:attribute"`` names. Raises ``UsageError`` where it cannot be imported."""
    module, _, attribute = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"{reference!r} cannot be imported: {error}", "Write module:attribute, of a module that can be imported."
        ) from error
