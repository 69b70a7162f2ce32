"""Pictures: drawn from any data, nothing cut off or overlapping, the same bytes each time."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from caa_registry.errors import UsageError
from caa_registry.evaluation.inference.intervals import Interval
from caa_registry.plots.cosine_matrix import cosine_matrix, cosines
from caa_registry.plots.dose_response import MOST, Curve, dose_response
from caa_registry.plots.heat_map import heat_map
from caa_registry.plots.item_effects import item_effects
from caa_registry.plots.item_slopes import item_slopes, slope_bins
from caa_registry.plots.layer_sweep import layer_sweep
from caa_registry.plots.projection import principal_components, projection
from caa_registry.plots.ranges import Band
from caa_registry.plots.style import save, style

CAPTION = (
    "team/sycophancy:v3 (85c024798073) on team/sycophancy:v1 (test, n = 40); model llama-2-7b-chat (8c0a74bd93b7); "
    "positions after_prompt, template llama-2; evaluation 12. Intervals: 95 % bootstrap over items."
)
LONG = "organisation/team/a-very-long-name-of-a-vector-that-nobody-would-read-to-its-end:v12"


def around(values: NDArray[np.float64], width: float = 0.05) -> list[Interval]:
    return [Interval(float(v), float(v) - width, float(v) + width, 40) for v in values]


def doses(n: int, curves: int, *, name: str = "vector") -> Figure:
    multipliers = np.linspace(-2, 2, n) if n > 1 else np.array([1.0])
    made = [Curve(f"{name} {i}", around(1 / (1 + np.exp(-(i + 1) * multipliers)))) for i in range(curves)]
    bands = [Band("random, 95 %", around(0 * multipliers + 0.5)), Band("shuffled", around(0 * multipliers + 0.5), True)]
    return dose_response(list(multipliers), made, title=name, ylabel="p", caption=CAPTION, bands=bands, unsteered=0.5)


def heat(rows: int, columns: int) -> Figure:
    values = np.random.default_rng(0).random((rows, columns))
    multipliers = list(np.linspace(-3, 3, columns)) if columns > 1 else [1.0]
    return heat_map(
        list(range(rows)), multipliers, values, title=LONG[:40], label="propensity of the completion", caption=CAPTION,
        outside=values > 0.5, best=(0, 0),
    )  # fmt: skip


def layers(n: int) -> Figure:
    bands = [Band("random, 95 %", around(np.zeros(n))), Band("shuffled labels, 95 %", around(np.zeros(n)), True)]
    return layer_sweep(
        list(range(n)), around(np.sin(np.arange(n))), title="steerability by layer", ylabel="log-odds (nats)",
        caption=CAPTION, bands=bands, chosen=0,
    )  # fmt: skip


def matrix(k: int, name: str) -> Figure:
    values = cosines(np.random.default_rng(0).normal(size=(k, 8)).astype(np.float32))
    return cosine_matrix([f"{name}{i}" for i in range(k)], values, title="between vectors", caption=CAPTION)


def panels(n: int, letters: bool) -> Figure:
    rows = np.random.default_rng(0).normal(size=(2, 30, 12)).astype(np.float32)
    placed = {layer: principal_components(rows[0] + layer, rows[1]) for layer in range(n)}
    given = [("A", "B") if i % 2 else ("B", "A") for i in range(30)] if letters else []
    return projection(placed, title="team/sycophancy:v3", caption=CAPTION, letters=given)


def items(n: int) -> Figure:
    effects = np.random.default_rng(0).normal(0.2, 0.3, n)
    return item_effects(effects, title="each item from −1 to +1", xlabel="effect", caption=CAPTION)


def histograms(*letters: str) -> Figure:
    generator = np.random.default_rng(0)
    slopes = {letter: generator.normal(i - 0.5, 0.6, 30 + i) for i, letter in enumerate(letters)}
    return item_slopes(slopes, title="team/sycophancy:v3, layer 12", caption=CAPTION)


PICTURES: dict[str, Callable[[], Figure]] = {
    "slopes": lambda: histograms(""),
    "slopes by letter": lambda: histograms("A", "B"),
    "slopes of many letters": lambda: histograms(*"ABCDE"),
    "dose-response": lambda: doses(7, 3),
    "one dose": lambda: doses(1, 1),
    "many doses": lambda: doses(15, 8, name=LONG),
    "uneven doses": lambda: dose_response(
        [-4, -0.1, -0.05, 0, 0.05, 0.1, 0.5, 4],
        [Curve("x", around(np.linspace(0, 1, 8)))],
        title="",
        ylabel="p",
        caption=CAPTION,
    ),
    "heat map": lambda: heat(5, 7),
    "one cell": lambda: heat(1, 1),
    "large heat map": lambda: heat(64, 15),
    "layers": lambda: layers(32),
    "one layer": lambda: layers(1),
    "matrix": lambda: matrix(5, ""),
    "matrix of names": lambda: matrix(4, LONG),
    "large matrix": lambda: matrix(48, ""),
    "projection": lambda: panels(5, True),
    "one panel": lambda: panels(1, False),
    "items": lambda: items(50),
    "one item": lambda: items(1),
    "many items": lambda: items(1000),
}


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_is_cut_off_and_no_labels_overlap(name: str) -> None:
    made = PICTURES[name]()
    with style():
        canvas = FigureCanvasAgg(made)
        canvas.draw()
        renderer = canvas.get_renderer()
    width, height = made.bbox.width, made.bbox.height
    # Ticks beyond the axis have labels too, which are not drawn.
    lines = [axis for axes in made.axes for axis in (axes.xaxis, axes.yaxis)]
    drawn = {axis: [tick.label1 for tick in axis._update_ticks()] for axis in lines}
    beyond = {label for axis in lines for label in axis.get_ticklabels()} - {x for some in drawn.values() for x in some}
    words = [text for text in made.findobj(Text) if text.get_visible() and text.get_text().strip()]
    shown = [text for text in words if text not in beyond]
    assert len(shown) >= 4
    for text in shown:
        assert text.get_fontsize() >= 7, text.get_text()
        box = text.get_window_extent(renderer)
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
        assert inside, (text.get_text(), box, width, height)
    caption = next(text for text in shown if text.get_text().startswith("team/sycophancy:v3 (85c0"))
    foot = caption.get_window_extent(renderer)
    for text in shown:
        assert text is caption or not text.get_window_extent(renderer).overlaps(foot), text.get_text()
    for labels in drawn.values():
        boxes = [
            label.get_window_extent(renderer)
            for label in labels
            if label.get_text() and label.get_visible() and label.get_rotation() == 0
        ]
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :]), name


@pytest.mark.parametrize("suffix", [".png", ".svg"])
@pytest.mark.parametrize("name", ["dose-response", "heat map", "layers", "matrix", "projection", "items"])
def test_the_same_picture_has_the_same_bytes(name: str, suffix: str, tmp_path: Path) -> None:
    one, other = (save(PICTURES[name](), tmp_path / f"{i}{suffix}").read_bytes() for i in range(2))
    assert one == other and str(tmp_path).encode() not in one
    if suffix == ".svg":
        tree = ElementTree.fromstring(one)
        words = "".join(tree.itertext())
        assert "team/sycophancy:v3 (85c024798073)" in words  # text stays text
    else:
        assert one.startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"0{suffix}", f"1{suffix}"]


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"picture.gif: pictures are written as .png or .svg"):
        save(items(3), tmp_path / "picture.gif")
    assert not list(tmp_path.iterdir())


def test_names_that_look_like_formulas_or_have_no_glyph_are_drawn(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save(doses(3, 1, name="a$b$ _x_ \\frac 日本 🙂 {}"), tmp_path / "odd.png")


INTERVALS = st.lists(st.floats(0, 1), min_size=1, max_size=6)


@settings(deadline=None, max_examples=25)
@given(INTERVALS, st.integers(1, MOST), st.booleans())
def test_any_curve_is_drawn(values: list[float], curves: int, swapped: bool) -> None:
    points = [Interval(v, v + 0.1 if swapped else v, v, 1) for v in values]  # an interval may not hold its value
    made = dose_response(
        [float(i) for i in range(len(points))], [Curve("x", points)] * curves, title="", ylabel="", caption=""
    )
    FigureCanvasAgg(made).draw()


def test_what_would_be_lost_is_refused_or_shown() -> None:
    with pytest.raises(UsageError, match="9 curves cannot be told apart"):
        doses(3, MOST + 1)
    made = PICTURES["uneven doses"]()
    labels = [text.get_text() for text in made.axes[0].get_xticklabels()]
    assert [labels[0], labels[3], labels[-1]] == ["−4", "0", "+4"]
    (single,) = doses(1, 1).axes
    assert all(path.get_extents().width > 0.1 for band in single.collections[:2] for path in band.get_paths())
    gaps = layer_sweep(
        [2, 8, 9], around(np.zeros(3)), title="x", ylabel="y", caption="z", bands=[Band("b", around(np.ones(3)))]
    )
    assert [text.get_text() for text in gaps.axes[0].get_xticklabels()] == ["2", "8", "9"]
    drawn = [path.get_extents() for path in gaps.axes[0].collections[0].get_paths()]
    assert [(box.x0, box.x1) for box in drawn] == [(1.5, 2.5), (7.5, 9.5)]
    title = item_effects(np.array([0.2, -0.1, 0.0]), title="each", xlabel="x", caption="z").axes[0].get_title("left")
    assert title.replace("\n", " ") == "each; 1 of 3 the wrong way"


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_bins_hold_every_slope_and_part_at_zero(slopes: list[float]) -> None:
    edges = slope_bins(np.array(slopes))
    assert np.histogram(slopes, edges)[0].sum() == len(slopes)
    assert (np.diff(edges) > 0).all() and len(edges) <= 18
    assert np.abs(edges).min() == 0


def test_the_title_counts_slopes_below_0() -> None:
    axes = item_slopes({"A": np.array([-1.0, 0.5]), "B": np.array([-2.0])}, title="v", caption="c").axes[0]
    assert axes.get_title("left").replace("\n", " ") == "v; 2 of 3 slopes below 0"
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()][:2] == ["A matches, n = 2", "mean −0.25"]


def test_equal_values_and_large_ones_are_drawn() -> None:
    for value in (0.0, 1.0, -1e6, 1e12):
        made = layer_sweep([3, 4], around(np.full(2, value)), title="x", ylabel="y", caption="z")
        FigureCanvasAgg(made).draw()
        FigureCanvasAgg(item_effects(np.full(4, value), title="", xlabel="", caption="")).draw()


@pytest.mark.parametrize("shape", [(30, 12), (5, 64), (2, 3)])
def test_the_projection_is_principal_component_analysis(shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(1)
    positive, negative = (generator.normal(size=shape) * np.arange(1, shape[1] + 1) for _ in range(2))
    found = principal_components((positive + 3).astype(np.float32), negative.astype(np.float32))
    oracle = PCA(2).fit(np.concatenate([positive + 3, negative]).astype(np.float32))
    wanted = oracle.transform(np.concatenate([positive + 3, negative]).astype(np.float32))
    both = np.concatenate([found.positive, found.negative])
    for axis in range(2):
        sign = math.copysign(1, both[:, axis] @ wanted[:, axis])
        np.testing.assert_allclose(both[:, axis], sign * wanted[:, axis], rtol=1e-3, atol=1e-3 * np.abs(wanted).max())
    np.testing.assert_allclose(found.explained, oracle.explained_variance_ratio_, rtol=1e-3)
    assert found.positive[:, 0].mean() >= found.negative[:, 0].mean()


def test_activations_that_are_all_alike_are_one_point() -> None:
    same = np.ones((3, 4), np.float32)
    found = principal_components(same, same)
    assert not found.positive.any() and found.explained == (0.0, 0.0)
    single = principal_components(np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32))
    assert single.positive.shape == (1, 2)


def test_cosines() -> None:
    rows = np.array([[1, 0], [0, 2], [1, 1], [0, 0], [-3, 0]], np.float32)
    found = cosines(rows)
    half = math.sqrt(0.5)
    np.testing.assert_allclose(found[0], [1, 0, half, 0, -1], atol=1e-12)
    np.testing.assert_allclose(found, found.T)
    assert not found[3].any()


def test_the_settings_of_others_are_left_alone(tmp_path: Path) -> None:
    import matplotlib

    before: dict[str, Any] = dict(matplotlib.rcParams)
    save(items(3), tmp_path / "x.png")
    assert dict(matplotlib.rcParams) == before
