"""Reports and pictures of vectors and evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from caa_registry.digests import short
from caa_registry.disk import check_new, explained, write_new
from caa_registry.display.bars import ProgressOption, shown
from caa_registry.errors import UsageError
from caa_registry.registry.datasets.datasets import Datasets
from caa_registry.registry.evaluations.evaluations import Evaluations
from caa_registry.registry.evaluations.target import Questions
from caa_registry.registry.models import Models
from caa_registry.registry.provenance.lineage import lineage
from caa_registry.registry.records import (
    VectorVersion,
)
from caa_registry.registry.reports.content import Contents, PairsContent
from caa_registry.registry.reports.evaluation_pictures import evaluation_pictures
from caa_registry.registry.reports.report import report_text
from caa_registry.registry.reports.tables import ReportTable, report_tables
from caa_registry.registry.reports.vector_pictures import (
    between_layers,
    between_vectors,
    check_together,
    pairs_projection,
)
from caa_registry.registry.vectors.computation import recomputation
from caa_registry.registry.vectors.vectors import Vectors
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from caa_registry.models.model import Model

_REPORT = "report.md"

# Of one picture of a lineage.
_MOST_BOXES = 150


class Reports:
    """What a registry shows of its vectors and evaluations: Markdown and pictures."""

    def __init__(
        self, workspace: Workspace, vectors: Vectors, evaluations: Evaluations, models: Models, datasets: Datasets
    ) -> None:
        self._workspace = workspace
        self._vectors = vectors
        self._evaluations = evaluations
        self._models = models
        self._datasets = datasets
        self._contents = Contents(workspace, evaluations, datasets)

    def write(
        self, vector: str | VectorVersion, folder: Path, *, layer: int | None = None, force: bool = False
    ) -> Path:
        """Write ``report.md`` of a vector, its pictures and its tables into ``folder``; the path of the report.

        The numbers are those of the evaluation that is its evidence (``Evaluations.evidence``), else of the newest by
        propensity; ``layer`` defaults to the one that the newest calibration chose, else the one with the largest
        steerability there. Other files in the folder stay.
        Raises ``UsageError`` for a vector or a layer that was not evaluated, and where a file exists, unless ``force``
        is set; then nothing is written.
        """
        from caa_registry.plots.style import save

        version = self._vectors.get(vector)
        content = self._contents.report(version, layer)
        pictures = {
            **evaluation_pictures(content.shown),
            "cosines": between_layers(version, self._vectors.load(version)),
        }
        tables = report_tables(content)
        report, places = folder / _REPORT, {name: folder / f"{name}.png" for name in pictures}
        sheets = {name: folder / f"{name}.csv" for name in tables}
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
        for path in (report, *places.values(), *sheets.values()):
            check_new(path, force=force)
        for name, picture in pictures.items():
            save(picture, places[name], force=force)
        for name, sheet in tables.items():
            write_new(sheets[name], sheet.to_csv().encode(), force=force)
        write_new(report, report_text(content, list(pictures), list(tables)).encode(), force=force)
        return report

    def tables(self, vector: str | VectorVersion, *, layer: int | None = None) -> dict[str, ReportTable]:
        """The tables of a report by name, each with ``to_csv()`` and ``to_frame()`` (``reports.tables``): those that
        ``write`` puts beside it. Raises ``UsageError`` as ``write`` does."""
        return report_tables(self._contents.report(self._vectors.get(vector), layer))

    def card(self, vector: str | VectorVersion) -> str:
        """The card of a vector, as Markdown: what it is, what is known of it, its limits, and the commands that make,
        score and apply it again on another machine."""
        from caa_registry.registry.reports.card import card_text

        return card_text(self._contents.card(self._vectors.get(vector)))

    def evaluation_pictures(self, id: int, *, layer: int | None = None) -> dict[str, Figure]:
        """The pictures of an evaluation by propensity, by name: ``dose-response``, ``slopes`` and ``items`` at one
        layer (default: the most steerable), and where there are several layers ``layers`` and ``heat-map``. What needs
        two multipliers is left out where there is one. Raises ``UsageError`` for another kind, or a layer that was not
        evaluated."""
        evaluation = self._evaluations.get(id)
        if evaluation.kind != "propensity":
            raise UsageError(
                f"evaluation {id} is of {evaluation.kind}, and only those by propensity are drawn",
                "List them with: caa eval ls",
            )
        version = self._vectors.get(f"vector:{evaluation.vector}")
        return evaluation_pictures(self._contents.evaluation(version, evaluation, layer))

    def vector_pictures(
        self,
        vectors: Sequence[str | VectorVersion],
        *,
        layer: int | None = None,
        model: str | Path | Model | None = None,
        reading: ProgressOption = None,
    ) -> dict[str, Figure]:
        """The pictures of vectors by name.

        Of one: ``cosines`` between its layers, and with its ``model`` the ``projection`` of its pairs' activations, of
        all layers or of ``layer``. Of several: ``cosines`` between them at ``layer``. Raises ``UsageError`` for several
        without a layer, or of different widths.
        """
        versions = [self._vectors.get(vector) for vector in vectors]
        if len(versions) > 1:
            at = check_together(versions, layer)
            return {"cosines": between_vectors(versions, [self._vectors.layer(v, at) for v in versions], at)}
        version = versions[0]
        pictures = {"cosines": between_layers(version, self._vectors.load(version))}
        if model is not None:
            with shown(activations=reading) as (telling,):
                loaded = self._models.load(model) if isinstance(model, str | Path) else model
                pictures["projection"] = pairs_projection(self._pairs(version, loaded, layer), telling)
        return pictures

    def lineage_picture(self, reference: str, *, depth: int = 5) -> Figure:
        """What a dataset or vector was made from, and what was made from it, at most ``depth`` steps away. Raises
        ``UsageError`` for more than can be read in one picture."""
        from caa_registry.plots.lineage_graph import lineage_graph

        whole = lineage(self._workspace, reference)
        part = whole.within(depth)
        if len(part.nodes) > _MOST_BOXES:
            raise UsageError(
                f"{len(part.nodes)} things are too many for a picture",
                f"Up to {_MOST_BOXES} fit: give a smaller --depth.",
            )
        labels = {key: node.lines for key, node in part.nodes.items()}
        kinds = {key: node.kind for key, node in part.nodes.items()}
        caption = (
            f"{part.root.reference} ({short(part.root.digest)}). Arrows lead from what a run read to what it made."
        )
        if len(part.nodes) < len(whole.nodes):
            caption += f" {len(whole.nodes) - len(part.nodes)} more are further away."
        title = f"Lineage of {part.root.reference}"
        return lineage_graph(labels, kinds, part.arrows, root=part.root.key, title=title, caption=caption)

    def _pairs(self, version: VectorVersion, model: Model, layer: int | None) -> PairsContent:
        recipe = version.known_recipe()
        dataset = self._datasets.get(version.dataset)
        own = Questions(dataset, recipe.split, self._datasets.pairs(dataset, recipe.split))
        layers = version.layer_numbers if layer is None else [layer]
        return PairsContent(version, own, recomputation(version, dataset, own.pairs, model, layers))
