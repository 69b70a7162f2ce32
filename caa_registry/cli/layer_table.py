"""The quality of a vector's layers, as a table with bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caa_registry.cli import output

if TYPE_CHECKING:
    from caa_registry.registry.records import LayerRecord, VectorVersion

_BLOCKS = " ▏▎▍▌▋▊▉█"
_BAR = 6
_LEGEND = """\
ratio: norm relative to the mean residual norm
AUC, d: separation of held-out pairs; null: AUC that 1 in 100 label shuffles reach
split: cosine between halves of the pairs; boot: cosine that 95 % of resamples reach
top dim: the largest coordinate and its share of the squared norm"""


def layer_table(version: VectorVersion) -> None:
    """Print a row for each layer: the norm, and how far to trust the direction. The bar shows the AUC from 0.5 to 1."""
    measured = any(layer.quality for layer in version.layers)
    names = ["layer", "norm", "ratio"]
    if measured:
        names += ["AUC", "", "null", "d", "split", "boot", "top dim", "signal"]
    output.table(names, [_row(layer, measured) for layer in version.layers], empty="")
    if measured:
        output.message(_LEGEND)
    quiet = [str(layer.layer) for layer in version.layers if layer.quality and not layer.quality.signal]
    if quiet:
        output.paragraph(f"No signal at {len(quiet)} of {len(version.layers)} layers: {', '.join(quiet)}.")


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
            _figure(quality.bootstrap_cosine),
            f"{quality.dominant_dimension}:{quality.dominant_share:.0%}",
            "yes" if quality.signal else "NO",
        ]
    elif measured:
        row += [""] * 8
    return row


def _figure(value: float) -> str:
    return f"{value:.3f}"


def bar(share: float) -> str:
    """A bar of eighths of a character for a share of 0 to 1."""
    eighths = round(max(0.0, min(1.0, share)) * _BAR * 8)
    return "█" * (eighths // 8) + (_BLOCKS[eighths % 8] if eighths % 8 else "")
