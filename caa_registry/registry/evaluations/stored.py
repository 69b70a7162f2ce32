"""Evaluations that are in the registry: found, listed, read and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from caa_registry.errors import NotFoundError, UsageError
from caa_registry.pairs.halves import half_of
from caa_registry.registry.evaluations import store
from caa_registry.registry.evaluations.comparing.cross import categories
from caa_registry.registry.evaluations.comparing.sides import Side, check_layers, compare
from caa_registry.registry.evaluations.evidence import evidence
from caa_registry.registry.evaluations.open_ended import answers
from caa_registry.registry.evaluations.ranking.leaderboard import leaderboard
from caa_registry.registry.evaluations.ratings import judgements
from caa_registry.registry.evaluations.target import Lookup
from caa_registry.registry.records import (
    Answer,
    Evaluation,
    Evidence,
    Judged,
    Listing,
    Ranked,
    RecordedPropensity,
    Statistic,
    VectorVersion,
)

if TYPE_CHECKING:
    from caa_registry.evaluation.categories import CategoryScores
    from caa_registry.evaluation.comparison import Compared
    from caa_registry.evaluation.doses.shape import CurveShape
    from caa_registry.evaluation.inference.caveats import Caveat
    from caa_registry.evaluation.measurements import Measurements
    from caa_registry.pairs.record import PairItem


class StoredEvaluations:
    """The evaluations that a registry has."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._workspace = lookup.workspace
        self._datasets = lookup.datasets

    def get(self, id: int) -> Evaluation:
        """The evaluation of that number. Raises ``NotFoundError``."""
        return store.get(self._workspace, id)

    def ls(
        self,
        vector: str | None = None,
        *,
        conditions: Sequence[str] = ("vector",),
        tags: Mapping[str, str] | None = None,
        limit: int | None = None,
    ) -> Listing[Evaluation]:
        """All evaluations, or those of one vector version, newest last, with the scores of some conditions only; the
        newest ``limit`` of them. ``tags``: only those of vector versions that have all of these."""
        return store.ls(self._workspace, vector, conditions, tags, limit)

    def items(self, evaluation: Evaluation) -> Listing[PairItem]:
        """The pairs that an evaluation asked, left-out ones included, with their metadata. The rows of its measurements
        are places in this list."""
        pairs = self._datasets.pairs(evaluation.dataset, evaluation.split)
        return Listing.whole(half_of(pairs, evaluation.settings.rows))

    def measurements(self, id: int) -> Measurements:
        """The items of an evaluation. Raises ``UsageError`` where they were not kept, ``IntegrityError`` where the
        bytes are not those that were stored."""
        return store.measurements(self._workspace, self.get(id))

    def caveats(self, evaluation: Evaluation, layer: int | None = None) -> Listing[Caveat]:
        """Where the numbers of an evaluation by propensity mean little, at a ``layer`` that was named beforehand or at
        all of them (``evaluation.inference.caveats``). None of another kind, or whose items were not kept."""
        from caa_registry.evaluation.inference.caveats import caveats

        recorded = evaluation.settings
        if not isinstance(recorded, RecordedPropensity) or evaluation.measurements is None:
            return Listing.whole([])
        needs_letters = recorded.paper or recorded.orders == "both"
        measured = store.measurements(self._workspace, evaluation)
        return Listing.whole(caveats(measured, layer, needs_letters=needs_letters))

    def shapes(self, evaluation: Evaluation) -> Listing[CurveShape]:
        """The shape of the vector's dose-response at every layer (``evaluation.doses.shape``). Empty where there is one
        multiplier, or the items were not kept."""
        from caa_registry.evaluation.doses.shape import shapes

        return Listing.whole(shapes(store.measurements(self._workspace, evaluation)) if evaluation.measurements else [])

    def categories(self, evaluation: Evaluation | int, layer: int | None = None) -> dict[float, CategoryScores]:
        """By multiplier the scores at a layer (default: the most steerable) by the questions' category. Raises
        ``InputError`` where questions have none."""
        record = self._record(evaluation)
        return categories(self._workspace, record, self.items(record), layer)

    def evidence(self, vectors: Sequence[VectorVersion], metric: Statistic = "steerability") -> dict[str, Evidence]:
        """By digest of each of ``vectors`` how well it works, where an evaluation shows it (``evidence.speaking``)."""
        return evidence(self._workspace, vectors, metric)

    def leaderboard(
        self,
        *,
        behavior: str | None = None,
        model: str | None = None,
        metric: Statistic = "steerability",
        dose: float | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Listing[Ranked]:
        """Every version of every vector by what it does at one dose, those for one behavior and model together
        (``ranking.leaderboard``). ``tags``: only versions that have all of these. Raises ``UsageError`` for a
        ``dose`` at which evaluations have no figures."""
        return Listing.whole(leaderboard(self._workspace, behavior, model, metric, dose, tags))

    def compare(
        self,
        one: str,
        other: str,
        *,
        layer: int | None = None,
        other_layer: int | None = None,
        dose: float | None = None,
    ) -> tuple[Evaluation, Evaluation, Listing[Compared]]:
        """What two evaluations found on the items that both have, paired, at the same dose (``evaluation.comparison``).

        ``one`` and ``other`` are numbers of evaluations, or vectors, whose newest evaluation counts. Without ``layer``
        every layer that both have is compared with itself; ``other_layer`` defaults to ``layer``. ``dose``: nats per
        token. Raises ``UsageError`` where they have no item or layer in common, ``NoCommonDoseError`` where they have
        no dose.
        """
        layers = check_layers(layer, other_layer)
        evaluations = self._named(one), self._named(other)
        sides = [Side(store.measurements(self._workspace, e), self.items(e)) for e in evaluations]
        return *evaluations, Listing.whole(compare(sides[0], sides[1], layers, dose))

    def answers(self, evaluation: Evaluation | int) -> Listing[Answer]:
        """The answers of an open-ended evaluation, by question, then multiplier. Raises ``UsageError`` for another
        kind."""
        record = self._record(evaluation)
        if record.kind != "open-ended":
            raise UsageError(f"evaluation {record.id} holds no answers", "List the open-ended ones with: caa eval ls")
        questions = self._lookup.prompts(self._datasets.get(record.dataset), record.split)
        with self._workspace.database.read() as session:
            return Listing.whole(answers(session, record, questions))

    def judgements(self, evaluation: Evaluation | int) -> Listing[Judged]:
        """All ratings of an open-ended evaluation, by judge."""
        record = self._record(evaluation)
        with self._workspace.database.read() as session:
            return Listing.whole(judgements(session, record.id))

    def _record(self, evaluation: Evaluation | int) -> Evaluation:
        return self.get(evaluation) if isinstance(evaluation, int) else evaluation

    def _named(self, reference: str) -> Evaluation:
        """The evaluation of that number, or the newest of the vector that ``reference`` names."""
        if reference.isdecimal():
            return self.get(int(reference))
        newest = store.newest(self._workspace, reference)
        if newest is None:
            raise NotFoundError(f"{reference} has no evaluation", f"Make one: caa eval propensity {reference}")
        return newest
