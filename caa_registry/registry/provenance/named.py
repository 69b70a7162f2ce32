"""What a reference names where versions and evaluations are both possible: ``team/x:v2``, ``evaluation:7``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.errors import NotFoundError
from caa_registry.references import parse
from caa_registry.registry.lookup import find_version, kind_of
from caa_registry.registry.provenance.lineage import Thing

EVALUATION = re.compile(r"evaluation[: ](\d{1,9})")


@dataclass(frozen=True)
class Named:
    """A dataset version, vector version or evaluation. ``name``: of a version ``team/x:v1``, of an evaluation its
    number; ``row``: its row."""

    thing: Thing
    name: str
    row: Any

    @property
    def reference(self) -> str:
        """What names it and nothing else: a dataset and a vector may share a name."""
        return f"{self.thing[0]}:{self.name}"

    @property
    def subject(self) -> dict[str, Any]:
        """What its events tell of."""
        kind, id = self.thing
        if kind == "evaluation":
            return {"evaluation": id}
        return {kind: self.name, "digest": self.row.digest}


def find(session: Session, reference: str) -> Named:
    """What ``reference`` names. Raises ``NotFoundError`` for what is not there or was deleted, ``UsageError``."""
    match = EVALUATION.fullmatch(reference)
    if match is not None:
        row = session.get(t.Evaluation, int(match[1]))
        if row is None or row.deleted_at is not None:
            raise NotFoundError(f"there is no evaluation {match[1]}", "List them with: caa eval ls")
        return Named(("evaluation", row.id), str(row.id), row)
    kind = kind_of(session, reference)
    version = find_version(session, reference, kind)
    return Named((kind, version.id), f"{parse(reference).name}:v{version.number}", version)
