"""What descends from recalled pairs and dataset versions, and from vectors and evaluations that are quarantined, each
kind in one statement however much it is.

A recalled thing is named by a label: the digest of a pair, the id of a dataset version written out, ``vector`` or
``evaluation`` with the id of one that is quarantined.

- A vector descends from a pair if the split that it was computed from holds the pair; from a dataset version if it was
  computed from it. Vectors made of such a vector descend too.
- An evaluation descends if its vector does, or if the questions that it asked hold the pair, or are of the version.
- A recalled dataset version takes with it the versions that operations made of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import (
    CTE,
    ColumnElement,
    CompoundSelect,
    Select,
    String,
    and_,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
    union,
)
from sqlalchemy.orm import Session, aliased

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among
from caa_registry.pairs.halves import REMAINDERS
from caa_registry.registry.provenance.descent import descending

Reached = Mapping[int, Collection[str]]
"""id -> labels of what it descends from."""


@dataclass(frozen=True)
class Recalled:
    """Digests of pairs, and ids of dataset versions, vector versions and evaluations."""

    pairs: Collection[str]
    versions: Collection[int]
    quarantined: Collection[int]
    evaluated: Collection[int]

    def datasets(self, session: Session) -> Reached:
        """The dataset versions that are recalled, were made of one, or hold a pair."""
        datasets = _datasets(session, self.versions)
        member = t.DatasetMember
        holding = select(member.pair_digest, member.version_id).where(among(session, member.pair_digest, self.pairs))
        return _collected(session, union(select(datasets.c.label, datasets.c.id), holding))

    def vectors(self, session: Session) -> Reached:
        """The vector versions that descend."""
        reached = self._vectors(session, _datasets(session, self.versions))
        return _collected(session, select(reached.c.label, reached.c.id))

    def evaluations(self, session: Session) -> Reached:
        """The evaluations that descend."""
        datasets, evaluation = _datasets(session, self.versions), t.Evaluation
        vectors = self._vectors(session, datasets)
        there = evaluation.deleted_at.is_(None)
        steered = (
            select(vectors.c.label, evaluation.id)
            .join(evaluation, evaluation.vector_version_id == vectors.c.id)
            .where(there)
        )
        asked = (
            select(datasets.c.label, evaluation.id)
            .join(evaluation, evaluation.dataset_version_id == datasets.c.id)
            .where(there)
        )
        member = t.DatasetMember
        holding = (
            select(member.pair_digest, evaluation.id)
            .join(evaluation, (evaluation.dataset_version_id == member.version_id) & (evaluation.split == member.split))
            .where(there, among(session, member.pair_digest, self.pairs), _asked())
        )
        id = evaluation.id
        itself = select(literal("evaluation ") + cast(id, String), id).where(there, among(session, id, self.evaluated))
        return _collected(session, union(steered, asked, holding, itself))

    def _vectors(self, session: Session, datasets: CTE) -> CTE:
        vector, member = t.VectorVersion, t.DatasetMember
        computed = select(datasets.c.label, vector.id).join(vector, vector.dataset_version_id == datasets.c.id)
        holding = (
            select(member.pair_digest, vector.id)
            .join(vector, vector.dataset_version_id == member.version_id)
            .where(vector.recipe["split"].as_string() == member.split, among(session, member.pair_digest, self.pairs))
        )
        itself = select(literal("vector ") + cast(vector.id, String), vector.id).where(
            among(session, vector.id, self.quarantined)
        )
        return descending("vector", union(computed, holding, itself))


def _datasets(session: Session, versions: Collection[int]) -> CTE:
    id = t.DatasetVersion.id
    return descending("dataset", select(cast(id, String), id).where(among(session, id, versions)))


def _asked() -> ColumnElement[bool]:
    """That an evaluation asked the row of the dataset member that it is joined with."""
    before, member, evaluation = aliased(t.DatasetMember), t.DatasetMember, t.Evaluation
    place = (
        select(func.count())
        .where(before.version_id == member.version_id, before.split == member.split, before.position < member.position)
        .correlate(member)
        .scalar_subquery()
    )
    # Answers say which row of the split they are about; a limit may have left some out.
    answered = exists().where(t.Response.evaluation_id == evaluation.id, t.Response.question == place)
    half = func.coalesce(evaluation.parameters["rows"].as_string(), "all")
    in_half = or_(*(and_(half == name, (place % 2).in_(remainders)) for name, remainders in REMAINDERS.items()))
    open_ended = evaluation.kind == "open-ended"
    return or_(and_(open_ended, answered), and_(~open_ended, in_half))


def _collected(session: Session, query: Select[str, int] | CompoundSelect[str, int]) -> dict[int, set[str]]:
    reached: dict[int, set[str]] = defaultdict(set)
    for row in session.execute(query):
        reached[row[1]].add(row[0])
    return dict(reached)
