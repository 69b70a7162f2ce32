"""The numbers of a report as tables, one row for each: for a spreadsheet, or a data frame."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, ClassVar

from caa_registry.display.records import Row, Table
from caa_registry.registry.records import Evaluation, Score, VectorVersion
from caa_registry.registry.reports.content import AnswersContent, EvaluationContent, ReportContent

if TYPE_CHECKING:
    import pandas

    from caa_registry.evaluation.measurements import Measurements

Value = str | int | float | bool | None


@dataclass(frozen=True)
class ReportTable(Table):
    """``columns``: their names; ``rows``: a value for each column, ``None`` where there is none."""

    _facts: ClassVar = ""

    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]

    def _rows(self) -> Sequence[Row]:
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def to_csv(self) -> str:
        """Comma-separated, with a line of column names first; numbers in full, nothing where there is no value."""
        written = io.StringIO(newline="")
        writer = csv.writer(written, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return written.getvalue()

    def to_frame(self) -> pandas.DataFrame:
        """A pandas data frame with the same columns and rows."""
        import pandas

        return pandas.DataFrame.from_records(list(self.rows), columns=list(self.columns))


def report_tables(content: ReportContent) -> dict[str, ReportTable]:
    """The tables of a report by name.

    ``scores``: the figures of every evaluation of the version, of the one that is shown those of baselines and nulls
    too. ``items``: what each question of the evaluation that is shown does at each layer, where its items were kept.
    ``layers``: the vector itself. ``conditions``: of the newest calibration, and of the plan that the evaluation that
    is shown followed. ``answers``: every answer of the open-ended evaluation that is shown, with its ratings.
    """
    shown = content.shown.evaluation
    evaluations = [shown if each.id == shown.id else each for each in content.evaluations]
    tables = {"scores": _scores(evaluations), "layers": _layers(content.shown.version)}
    conditions = _conditions(content)
    if conditions.rows:
        tables["conditions"] = conditions
    if content.shown.measured is not None and len(content.shown.measured.multipliers) > 1:
        tables["items"] = _items(content.shown, content.shown.measured)
    if content.answers is not None:
        tables["answers"] = _answers(content.answers)
    return tables


def _scores(evaluations: Sequence[Evaluation]) -> ReportTable:
    names = tuple(field.name for field in fields(Score))
    rows = tuple(
        (each.id, each.kind, each.dataset, each.split, each.n, *(getattr(score, name) for name in names))
        for each in evaluations
        for score in each.scores
    )
    return ReportTable(("evaluation", "kind", "dataset", "split", "questions", *names), rows)


def _items(shown: EvaluationContent, measured: Measurements) -> ReportTable:
    """The slope of an item's log-odds over all multipliers, and the change of its propensity from the lowest to the
    highest. Items that the model was not asked are left out."""
    import numpy as np

    from caa_registry.evaluation.statistics import effects, steerability

    observed = measured.vector
    slopes, changes = steerability(observed, measured.multipliers), effects(observed)
    asked = np.flatnonzero(observed.counted)

    def rows() -> Iterator[tuple[Value, ...]]:
        for place, layer in enumerate(measured.layers):
            for column, item in enumerate(asked):
                known = observed.rows[item], observed.letters[item] or None, observed.clusters[item]
                figures = float(slopes[place, column]), float(changes[place, column])
                yield shown.evaluation.id, layer, *known, *figures

    return ReportTable(("evaluation", "layer", "row", "letter", "cluster", "slope", "effect"), tuple(rows()))


def _conditions(content: ReportContent) -> ReportTable:
    rows: list[tuple[Value, ...]] = []
    if content.outcome is not None and content.outcome.evidence is not None:
        for each in content.outcome.evidence["verdict"]:
            rows.append(("calibration", each["name"], each["met"], each["accepted"], each["figure"]))
    if content.planned is not None:
        plan, came = content.planned
        rows += [(f"plan {plan.name}", each.name, each.met, False, each.figure) for each in came.conditions]
    return ReportTable(("of", "condition", "met", "accepted", "figure"), tuple(rows))


def _layers(version: VectorVersion) -> ReportTable:
    quality = [asdict(record.quality) if record.quality else {} for record in version.layers]
    names = tuple(dict.fromkeys(name for each in quality for name in each))
    rows = tuple(
        (record.layer, record.norm, record.residual_norm, *(each.get(name) for name in names))
        for record, each in zip(version.layers, quality, strict=True)
    )
    return ReportTable(("layer", "norm", "residual_norm", *names), rows)


def _answers(content: AnswersContent) -> ReportTable:
    measures = tuple(dict.fromkeys(name for answer in content.answers for name in answer.coherence))
    judges = tuple(f"rating_{judged.id}" for judged in content.judgements)
    rows = tuple(
        (
            content.evaluation.id,
            answer.position,
            answer.question,
            answer.multiplier,
            answer.text,
            answer.finish,
            *(answer.coherence.get(name) for name in measures),
            *(judged.ratings.get(answer.position) for judged in content.judgements),
        )
        for answer in content.answers
    )
    return ReportTable(("evaluation", "position", "question", "multiplier", "text", "finish", *measures, *judges), rows)
