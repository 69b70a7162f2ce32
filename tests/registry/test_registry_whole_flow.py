"""From pairs to scores and steered text, on both databases, with the lineage of it all."""

from __future__ import annotations

from pathlib import Path

import pytest
from registry.registry_support import check_consistent, events, jsonl, letters

import caa_registry as caa
from caa_registry.models.model import Model
from caa_registry.registry.records import LineageNode


def names(nodes: list[LineageNode]) -> list[str]:
    return [f"{node.kind} {node.reference}" for node in nodes]


def test_the_whole_flow(url: str, tmp_path: Path, model: Model) -> None:
    sources = {
        "generate": jsonl(tmp_path / "g.jsonl", letters(4)),
        "test": jsonl(tmp_path / "t.jsonl", [*letters(3, about="Üñ 🙂"), letters(1, about="Üñ 🙂")[0]]),
    }
    with caa.open(url, actor="ada") as registry:
        pairs = registry.datasets.import_(sources, name="team/pairs", message="both halves")
        assert registry.datasets.import_(sources, name="team/pairs").existing
        vector = registry.vectors.compute("team/v", dataset=pairs, model=model)
        assert registry.vectors.compute("team/v", dataset=pairs, model=model).existing
        forced = registry.vectors.compute("team/v", dataset=pairs, model=model, force=True)
        assert forced.comparison and forced.comparison.holds
        scores = registry.evaluations.propensity(vector, model=model, multipliers=[-1, 0, 1.5])
        best = max(scores.of(), key=lambda score: score.value)
        registry.aliases.set("team/v:v1", "best", caa.Recommendation((best.layer,), best.multiplier))
        with registry.steer(model, "team/v:best") as plan:
            text = model.generate("Is it good?", max_tokens=4)
        assert plan.additions[0].layer == best.layer and isinstance(text, str)
    with caa.open(url, create=False) as registry:
        assert registry.datasets.get("team/pairs").message == "both halves"
        assert dict(registry.datasets.get("team/pairs").splits) == {"generate": 4, "test": 4}
        assert registry.datasets.pairs("team/pairs", "test")[0].pair.prompt.startswith("Is Üñ 🙂 0")
        assert registry.vectors.get("team/v:best") == registry.vectors.ls()[0]
        assert registry.evaluations.get(scores.id) == scores
        assert [action for action, _ in events(registry)] == ["import", "compute", "evaluate", "set-alias"]
        check_consistent(registry)


def test_lineage_goes_both_ways(url: str, tmp_path: Path, model: Model) -> None:
    with caa.open(url, actor="ada") as registry:
        pairs = registry.datasets.import_(jsonl(tmp_path / "g.jsonl", letters()), name="team/pairs")
        registry.models.add(model)
        vector = registry.vectors.compute("team/v", dataset=pairs, model=model, layers=[1])
        registry.aliases.set("team/v", "best", caa.Recommendation((1,)))
        found = registry.evaluations.propensity(vector, split="generate", model=model)
        lineage = registry.lineage("team/v:best")
        up = lineage.root
        assert (up.kind, up.reference, up.digest, up.aliases) == ("vector", "team/v:v1", vector.digest, ("best",))
        assert up.run and (up.run.kind, up.run.actor) == ("compute", "ada")
        assert sorted(names(lineage.inputs(up))) == ["dataset team/pairs:v1", f"model {model.info.name}"]
        assert all(node.run for node in lineage.inputs(up))
        assert names(lineage.outputs(up)) == [f"evaluation evaluation {found.id}"]
        lineage = registry.lineage("team/pairs")
        down = lineage.root
        assert down.run and down.run.kind == "import" and down.inputs == ()
        assert sorted(names(lineage.outputs(down))) == [f"evaluation evaluation {found.id}", "vector team/v:v1"]
        (made,) = [node for node in lineage.outputs(down) if node.kind == "vector"]
        assert names(lineage.outputs(made)) == [f"evaluation evaluation {found.id}"]


def test_references_on_both_databases(url: str, tmp_path: Path) -> None:
    with caa.open(url) as registry:
        first = registry.datasets.import_(jsonl(tmp_path / "a.jsonl", letters(2)), name="team/a_b")
        registry.datasets.import_(jsonl(tmp_path / "b.jsonl", letters(3)), name="team/a_b")
        registry.aliases.set("team/a_b:v1", "old")
        for form in ("team/a_b:v1", "team/a_b:old", f"team/a_b@{first.digest[:19]}", f"team/a_b:v1@{first.digest}"):
            assert registry.datasets.get(form).digest == first.digest
        assert registry.datasets.get("team/a_b").number == 2
        # An underscore is a letter of a name here, not a wildcard.
        with pytest.raises(caa.CaaError):
            registry.datasets.get("team/aXb".lower())
        with pytest.raises(caa.CaaError, match="there is no evaluation"):
            registry.evaluations.get(3_000_000_000)
