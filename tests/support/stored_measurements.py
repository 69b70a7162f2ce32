"""An evaluation in a registry whose measurements are made up, or made by hand."""

from __future__ import annotations

from caa_registry.evaluation.measurements import Measurements, to_bytes
from caa_registry.evaluation.statistics import figures
from caa_registry.models.model import Model
from caa_registry.registry.evaluations import store
from caa_registry.registry.evaluations.target import steps, target
from caa_registry.registry.records import DatasetVersion, Evaluation, VectorVersion
from caa_registry.registry.records.evaluation_settings import Beside, Leaked, RecordedPropensity
from caa_registry.registry.registry import Registry


def store_measured(
    registry: Registry, vector: VectorVersion, measured: Measurements, model: Model, dataset: DatasetVersion
) -> Evaluation:
    """As ``registry.evaluations.propensity`` stores what it measured on the test split of ``dataset``."""
    workspace = registry.workspace
    on = target(
        workspace,
        vector,
        registry.vectors.load(vector),
        model,
        measured.layers,
        steps(measured.multipliers),
        allow_mismatch=False,
    )
    settings = RecordedPropensity(
        **on.recorded,
        rows="all",
        interval="made up",
        template_digest="sha256:0",
        paper=False,
        more_choices=0,
        beyond_letters=0,
        too_long=0,
        unscorable=0,
        leaked=Leaked(0, 0),
        beside=Beside(tuple(measured.nulls), 19 if measured.nulls else 0),
    )
    underway = store.begin(
        workspace,
        on,
        "propensity",
        settings,
        positions="after_prompt",
        template="plain",
        dataset=dataset,
        split="test",
    )
    digest = workspace.blobs.put(to_bytes(measured))
    id = store.store(workspace, underway, measured.metric, figures(measured), measurements=digest)
    return registry.evaluations.get(id)
