"""The run that made a thing, as it travels with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from caa_registry.errors import InputError
from caa_registry.pairs.source import Fields
from caa_registry.registry.transfer.documents.fields import moment_in, moment_json, whole_in
from caa_registry.registry.transfer.documents.key import Key


@dataclass(frozen=True)
class RunDocument:
    """``number``: in the registry that it comes from; ``inputs``: what it read, each with its role; ``role``: of what
    it made."""

    number: int
    kind: str
    parameters: Mapping[str, Any]
    environment: Mapping[str, Any]
    actor: str
    started_at: datetime
    finished_at: datetime
    inputs: Sequence[tuple[Key, str]]
    role: str

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "kind": self.kind,
            "parameters": self.parameters,
            "environment": self.environment,
            "actor": self.actor,
            "started_at": moment_json(self.started_at),
            "finished_at": moment_json(self.finished_at),
            "inputs": [[*key.to_json(), role] for key, role in self.inputs],
            "role": self.role,
        }

    @classmethod
    def from_json(cls, values: Any, what: str, field: str) -> RunDocument:
        read = Fields(values, what, field)
        inputs = []
        for place, each in enumerate(read.get("inputs", list)):
            where = f"{field}.inputs[{place}]"
            if not isinstance(each, list) or len(each) != 4 or not isinstance(each[3], str):
                raise InputError("has to be kind, name, digest and role", source=what, field=where)
            inputs.append((Key.from_json(each[:3], what, where), each[3]))
        return cls(
            whole_in(read, "number"),
            read.get("kind", str),
            read.get("parameters", dict),
            read.get("environment", dict),
            read.get("actor", str),
            moment_in(read, "started_at"),
            moment_in(read, "finished_at"),
            tuple(inputs),
            read.get("role", str),
        )
