"""Lineage as a Mermaid graph and as a picture."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from caa_registry.errors import UsageError
from caa_registry.plots.lineage_graph import _columns
from caa_registry.registry.records import Lineage, LineageNode
from caa_registry.wire.mermaid import lineage_mermaid

if TYPE_CHECKING:
    from caa_registry.models.model import Model
    from caa_registry.registry.records import DatasetVersion
    from caa_registry.registry.registry import Registry


@pytest.fixture
def found(registry: Registry, pairs: DatasetVersion, model: Model) -> Lineage:
    for method in ("mean-difference", "pca"):
        registry.vectors.compute(f"team/{method}", dataset=pairs, model=model, method=method)
    registry.vectors.normalize(["team/mean-difference", "team/pca"])
    return registry.lineage("team/pairs")


def test_every_node_and_every_arrow_is_in_the_graph(found: Lineage) -> None:
    text = lineage_mermaid(found)
    assert text.startswith("graph LR\n") and text.endswith("stroke-width:3px\n")
    labels = dict(re.findall(r'^    (n\d+)\S*"(.*)"', text, re.MULTILINE))
    assert sorted(label.split("<br>")[0] for label in labels.values()) == [
        "dataset team/pairs:v1",
        "vector team/mean-difference-normalized:v1",
        "vector team/mean-difference:v1",
        "vector team/pca-normalized:v1",
        "vector team/pca:v1",
    ]
    arrows = re.findall(r"^    (n\d+) --> (n\d+)$", text, re.MULTILINE)
    named = {tuple(labels[each].split("<br>")[0].split("/")[1] for each in arrow) for arrow in arrows}
    assert len(arrows) == len(named) == 6
    assert ("pairs:v1", "pca:v1") in named and ("mean-difference:v1", "pca-normalized:v1") in named


def test_steps_are_counted_from_the_root(found: Lineage, registry: Registry) -> None:
    near = found.within(1)
    assert len(near.nodes) == 3 and len(near.arrows) == 2
    assert found.within(5) == found
    middle = registry.lineage("team/pca").within(1)
    assert {node.kind for node in middle.nodes.values()} == {"dataset", "model", "vector"}


def test_a_hostile_name_stays_a_text() -> None:
    node = LineageNode("model:x", "model", 'm"]\nevil["<script>`#', "sha256:" + "0" * 64)
    (line,) = [line for line in lineage_mermaid(Lineage(node, {"model:x": node})).splitlines() if "n0{{" in line]
    assert line == '    n0{{"model m#quot;] evil[#quot;#lt;script#gt;#96;#35;<br>000000000000"}}'


def test_what_is_made_stands_right_of_what_it_is_made_from(found: Lineage) -> None:
    columns = _columns(list(found.nodes), found.arrows)
    place = {key: number for number, column in enumerate(columns) for key in column}
    assert sorted(place) == sorted(found.nodes) and len(columns) == 3
    assert all(place[source] < place[product] for source, product in found.arrows)
    # Also where a damaged catalogue has things made from each other.
    assert sum(map(len, _columns(["a", "b"], [("a", "b"), ("b", "a")]))) == 2


def test_the_picture_names_everything(found: Lineage, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = registry.reports.lineage_picture("dataset:team/pairs")
    (axes,) = picture.axes
    assert len(axes.texts) == len(found.nodes) and len(axes.patches) == len(found.arrows)
    assert any("team/pca-normalized:v1" in text.get_text() for text in axes.texts)
    near = registry.reports.lineage_picture("dataset:team/pairs", depth=1)
    assert "2 more are further away" in " ".join(text.get_text() for text in near.texts).replace("\n", " ")
    monkeypatch.setattr("caa_registry.registry.reports.reports._MOST_BOXES", 4)
    with pytest.raises(UsageError, match="5 things are too many for a picture"):
        registry.reports.lineage_picture("dataset:team/pairs")
