"""The quality of a vector's layers, as a table with bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caa_registry.cli import output
from caa_registry.vectors import NOT_FROM_PAIRS, UNMEASURED, words_alone
from caa_registry.wording import ranges

if TYPE_CHECKING:
    from caa_registry.registry.records import LayerRecord, VectorVersion
    from caa_registry.vectors import LayerQuality

_BLOCKS = " ▏▎▍▌▋▊▉█"
_BAR = 6
_LEGEND = """\
ratio: norm relative to the mean residual norm
AUC, d: separation of held-out pairs, of letters within each; null: AUC that 1 in 100 label shuffles reach
split: cosine between halves of the pairs; alike: cosine of pair differences to their mean
top dim: the largest coordinate and its share of the squared norm"""


def layer_table(version: VectorVersion) -> None:
    """Print a row for each layer: the norm, and how far to trust the direction. The bar shows the AUC from 0.5 to 1."""
    measured = any(layer.quality for layer in version.layers)
    names = ["layer", "norm", "ratio"]
    if measured:
        names += ["AUC", "", "null", "d", "split", "alike", "top dim", "signal"]
    output.table(names, [_row(layer, measured) for layer in version.layers], empty="")
    if measured:
        output.message(_LEGEND)
    qualities = [(layer.layer, layer.quality) for layer in version.layers if layer.quality]
    quiet = [layer for layer, quality in qualities if quality.signal is False]
    if quiet:
        output.paragraph(f"No signal at {len(quiet)} of {len(version.layers)} layers: {ranges(quiet)}.")
    if not measured:
        output.paragraph(UNMEASURED if version.recipe else NOT_FROM_PAIRS)
    words = words_alone(dict(qualities))
    if words:
        output.paragraph(words)
    few = [quality.clusters for _, quality in qualities if quality.signal is None]
    if few:
        output.paragraph(f"{few[0]} different pairs are too few to tell whether there is a signal; make it 10 or more.")
    if any(quality.p_value is None for _, quality in qualities):
        output.paragraph(
            "This was measured before letters and repeated pairs were told apart: a signal may be one of letters. "
            "Compute the vector anew to measure it again."
        )


def _row(layer: LayerRecord, measured: bool) -> list[object]:
    row: list[object] = [
        layer.layer,
        layer.norm,
        _figure(layer.norm / layer.residual_norm) if layer.residual_norm else "",
    ]
    quality = layer.quality
    if quality is not None:
        row += [
            _figure(quality.auc),
            bar((quality.auc - 0.5) / 0.5),
            _figure(quality.null_auc),
            f"{quality.cohens_d:.1f}",
            _figure(quality.split_half_cosine),
            "" if quality.difference_cosine is None else _figure(quality.difference_cosine),
            f"{quality.dominant_dimension}:{quality.dominant_share:.0%}",
            signal_word(quality),
        ]
    elif measured:
        row += [""] * 8
    return row


def signal_word(quality: LayerQuality) -> str:
    """Whether there is a signal, in a word."""
    return {True: "yes", False: "NO", None: "too few"}[quality.signal]


def _figure(value: float) -> str:
    return f"{value:.3f}"


def bar(share: float) -> str:
    """A bar of eighths of a character for a share of 0 to 1."""
    eighths = round(max(0.0, min(1.0, share)) * _BAR * 8)
    return "█" * (eighths // 8) + (_BLOCKS[eighths % 8] if eighths % 8 else "")
