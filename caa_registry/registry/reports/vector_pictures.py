"""Pictures of vectors: between the layers of one, between several, and the pairs that one was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from caa_registry.digests import short
from caa_registry.errors import UsageError
from caa_registry.pairs.answers import sides_of
from caa_registry.progress import Progress
from caa_registry.registry.records import VectorVersion
from caa_registry.registry.reports.content import PairsContent
from caa_registry.wording import count

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from caa_registry.vectors import LayerVector, VectorSet


def check_together(versions: Sequence[VectorVersion], layer: int | None) -> int:
    """The layer at which several vectors are compared. Raises ``UsageError`` for none, or vectors of different
    widths."""
    if layer is None:
        raise UsageError("no layer is given to compare the vectors at", "Give --layer.")
    widths = sorted({version.d_model for version in versions})
    if len(widths) > 1:
        raise UsageError(f"the vectors are of different widths ({', '.join(map(str, widths))})")
    return layer


def between_layers(version: VectorVersion, vectors: VectorSet) -> Figure:
    """The cosine of each layer's vector with each other's."""
    import numpy as np

    from caa_registry.plots.cosine_matrix import cosine_matrix, cosines

    return cosine_matrix(
        [str(layer) for layer in vectors.layer_numbers],
        cosines(np.stack([vector.values for vector in vectors.layers])),
        title=f"{version.reference}: between layers",
        caption=_caption(version),
    )


def between_vectors(versions: Sequence[VectorVersion], vectors: Sequence[LayerVector], layer: int) -> Figure:
    """The cosine of each vector with each other at one layer. ``vectors``: of each version that layer's."""
    import numpy as np

    from caa_registry.plots.cosine_matrix import cosine_matrix, cosines

    models = sorted({_model(v) for v in versions})
    digests = ", ".join(f"{version.reference} ({short(version.digest)})" for version in versions)
    return cosine_matrix(
        [version.reference for version in versions],
        cosines(np.stack([vector.values for vector in vectors])),
        title=f"Between vectors, layer {layer}",
        caption=f"{digests}; model {', '.join(models)}.",
    )


def pairs_projection(content: PairsContent, reading: Progress) -> Figure:
    """The activations of the vector's pairs in two dimensions, a panel a layer."""
    from caa_registry.engine.reading import Work
    from caa_registry.plots.projection import Projected, principal_components, projection

    computation, version = content.computation, content.version
    placed: Mapping[int, Projected]
    with computation.activations(Work(), fresh=False, progress=reading) as activations:
        placed = {layer: principal_components(*activations.layer(layer)) for layer in computation.recipe.layers}
    read = [content.own.pairs[tokens.index] for tokens in computation.pairs]
    letters = [sides_of(pair).letters or ("", "") for pair in read]
    return projection(
        placed,
        title=f"{version.reference}: activations of its pairs",
        caption=_caption(version) + " First two principal components of both sides together.",
        letters=letters if any(any(both) for both in letters) else (),
    )


def _caption(version: VectorVersion) -> str:
    recipe, made = version.recipe, version.made_from
    if recipe is not None:
        made = (
            f"{recipe.method} of {count(recipe.pairs, 'pair')} of {version.dataset} ({recipe.split}), "
            f"read at '{recipe.read}', template {recipe.template}"
        )
    return f"{version.reference} ({short(version.digest)}): {made}; model {_model(version)}."


def _model(version: VectorVersion) -> str:
    return f"{version.model.name} ({short(version.model.fingerprint.digest)})" if version.model else version.model_name
