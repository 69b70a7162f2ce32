"""Aliases, what they recommend, and steering by them: the right version, the right layers, the right model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from registry.registry_support import counts, dump, events, jsonl, letters

from caa_registry.errors import ModelMismatchError, NotFoundError, UsageError
from caa_registry.models.generation import NextToken
from caa_registry.models.model import Model
from caa_registry.registry.records import DatasetVersion, Recommendation, Steer, VectorVersion
from caa_registry.registry.registry import Registry

if TYPE_CHECKING:
    from support.tiny_models import TinyModels

PROMPT = "Is it good?"


def top(model: Model) -> list[tuple[int, float]]:
    return [(token.id, token.probability) for token in model.next_tokens(PROMPT, top=400)]


@pytest.fixture
def version(registry: Registry, pairs: DatasetVersion, model: Model) -> VectorVersion:
    return registry.vectors.compute("team/v", dataset=pairs, model=model)


@pytest.fixture
def other(tiny: TinyModels) -> Model:
    return tiny("llama", seed=1)


def test_an_alias_is_set_moved_and_removed_and_each_is_an_event(
    registry: Registry, version: VectorVersion, pairs: DatasetVersion, model: Model
) -> None:
    registry.vectors.compute("team/v", dataset=pairs, model=model, read="last")
    assert registry.aliases.set("team/v:v1", "best", Recommendation((1, 2), 1.5, "all")).target == "team/v:v1"
    moved = registry.aliases.set("team/v:v2", "best")
    assert (moved.reference, moved.target, moved.recommendation) == ("team/v:best", "team/v:v2", None)
    assert registry.vectors.get("team/v:best").number == 2
    assert registry.vectors.get("team/v").aliases == ("best",)
    assert registry.aliases.ls() == [moved] and registry.aliases.get("team/v:best") == moved
    registry.aliases.remove("team/v:best")
    assert registry.aliases.ls() == []
    with pytest.raises(NotFoundError, match="has no alias 'best'"):
        registry.aliases.remove("team/v:best")
    advice = {"layers": [1, 2], "multiplier": "1.5", "positions": "all"}
    said = {"kind": "vector", "name": "team/v", "alias": "best"}
    assert events(registry)[-3:] == [
        ("set-alias", {**said, "from": None, "to": "v1", "recommendation": advice}),
        ("set-alias", {**said, "from": "v1", "to": "v2", "recommendation": None}),
        ("remove-alias", {**said, "from": "v2"}),
    ]


def test_a_recommendation_comes_back_as_it_was(registry: Registry, version: VectorVersion) -> None:
    advice = Recommendation((0, 2), -0.1, "generated")
    registry.aliases.set("team/v", "best", advice)
    found = registry.aliases.get("team/v:best")
    assert found and found.recommendation == advice


@pytest.mark.parametrize("alias", ["", "v3", "v0", "latest", "a b", "a:b", "a/b", "-x", "ä", "x" * 129])
def test_what_cannot_be_an_alias_is_refused(registry: Registry, version: VectorVersion, alias: str) -> None:
    before = dump(f"sqlite:///{registry.database.path}")
    with pytest.raises(UsageError, match="alias"):
        registry.aliases.set("team/v", alias)
    assert dump(f"sqlite:///{registry.database.path}") == before


def test_a_recommendation_that_cannot_be_followed_is_refused(registry: Registry, version: VectorVersion) -> None:
    before = dump(f"sqlite:///{registry.database.path}")
    with pytest.raises(UsageError, match="has no layer 3") as caught:
        registry.aliases.set("team/v", "best", Recommendation((3,)))
    assert caught.value.hint == "It has layers 0-2."
    with pytest.raises(UsageError, match="no positions 'nowhere'"):
        registry.aliases.set("team/v", "best", Recommendation((1,), 1.0, "nowhere"))
    for multiplier in (float("nan"), float("inf"), 1e39):
        with pytest.raises(UsageError, match="not a finite number"):
            Recommendation((1,), multiplier)
    with pytest.raises(UsageError, match="needs a layer"):
        Recommendation(())
    with pytest.raises(UsageError, match="names no alias"):
        registry.aliases.remove("team/v:v1")
    assert dump(f"sqlite:///{registry.database.path}") == before


def test_the_recommendation_is_followed_and_what_is_given_goes_before(
    registry: Registry, version: VectorVersion, model: Model
) -> None:
    registry.aliases.set("team/v:v1", "best", Recommendation((0, 2), 2.0, "all"))
    with registry.steer(model, "team/v:best") as plan:
        assert [(a.layer, a.multiplier) for a in plan.additions] == [(0, 2.0), (2, 2.0)]
        assert (plan.positions, [v.reference for v in plan.vectors]) == ("all", ["team/v:v1"])
    with registry.steer(model, "team/v:best", layer=1, multiplier=-1, positions="last") as plan:
        assert [(a.layer, a.multiplier) for a in plan.additions] == [(1, -1)] and plan.positions == "last"
    with registry.steer(model, "team/v:best", multiplier=0.5) as plan:
        assert [(a.layer, a.multiplier) for a in plan.additions] == [(0, 0.5), (2, 0.5)]


def test_the_vectors_advice_is_found_beside_an_alias_of_a_dataset(
    registry: Registry, pairs: DatasetVersion, model: Model
) -> None:
    registry.vectors.compute("team/pairs", dataset=pairs, model=model)
    registry.aliases.set("dataset:team/pairs", "best")
    registry.aliases.set("vector:team/pairs", "best", Recommendation((1,)))
    with registry.steer(model, "team/pairs:best") as plan:
        assert [a.layer for a in plan.additions] == [1]


def test_without_a_layer_or_a_recommendation_steering_asks(
    registry: Registry, version: VectorVersion, model: Model
) -> None:
    registry.aliases.set("team/v", "plain")
    for vector in ("team/v", "team/v:v1", "team/v:plain", version):
        with (
            pytest.raises(UsageError, match="no layer is given for team/v:v1") as caught,
            registry.steer(model, vector),
        ):
            pass
        assert "--layer" in caught.value.hint and "caa alias set" in caught.value.hint


def test_steering_adds_the_stored_numbers_and_ends(registry: Registry, version: VectorVersion, model: Model) -> None:
    plainly = top(model)
    with registry.steer(model, "team/v", layer=1, multiplier=8.0) as plan:
        assert np.array_equal(plan.additions[0].vector, registry.vectors.layer(version, 1).values)
        steered = top(model)
    assert steered != plainly
    assert top(model) == plainly
    with registry.steer(model, "team/v", layer=1, multiplier=0.0):
        assert top(model) == plainly


def test_the_model_is_restored_after_an_exception(registry: Registry, version: VectorVersion, model: Model) -> None:
    plainly = top(model)
    with pytest.raises(ZeroDivisionError), registry.steer(model, "team/v", layer=[0, 1], multiplier=5):
        raise ZeroDivisionError
    with pytest.raises(UsageError), registry.steer(model, "team/v", layer=1, positions="nowhere"):  # type: ignore[arg-type]
        pass
    assert top(model) == plainly


def test_several_vectors_and_layers_act_together(
    registry: Registry, version: VectorVersion, pairs: DatasetVersion, model: Model
) -> None:
    registry.vectors.compute("team/w", dataset=pairs, model=model, read="last")
    wanted = [Steer("team/v", [0, 2, 2], 3.0), Steer("team/w", 1)]
    with registry.steer(model, wanted) as plan:
        assert [(a.layer, a.multiplier) for a in plan.additions] == [(0, 3.0), (2, 3.0), (1, 1.0)]
        together = top(model)
    with registry.steer(model, "team/v", layer=[0, 2], multiplier=3), registry.steer(model, "team/w", layer=1):
        nested = top(model)
    assert [i for i, _ in together] == [i for i, _ in nested]
    assert np.allclose([p for _, p in together], [p for _, p in nested], atol=1e-6)
    with pytest.raises(UsageError, match="several vectors carry their own"):
        registry.steer(model, wanted, layer=1)


def test_advice_that_disagrees_about_positions_has_to_be_settled(
    registry: Registry, version: VectorVersion, model: Model
) -> None:
    registry.aliases.set("team/v", "one", Recommendation((0,), 1.0, "all"))
    registry.aliases.set("team/v", "two", Recommendation((1,), 1.0, "last"))
    wanted = [Steer("team/v:one"), Steer("team/v:two")]
    with pytest.raises(UsageError, match="recommend different positions: all, last"), registry.steer(model, wanted):
        pass
    with registry.steer(model, wanted, positions="generated") as plan:
        assert plan.positions == "generated"


@pytest.mark.parametrize("multiplier", [float("nan"), float("inf"), -1e39])
def test_a_strength_that_is_no_number_is_refused(
    registry: Registry, version: VectorVersion, model: Model, multiplier: float
) -> None:
    with (
        pytest.raises(UsageError, match="not a finite number"),
        registry.steer(model, "team/v", layer=1, multiplier=multiplier),
    ):
        pass


def test_a_vector_of_another_model_is_refused(registry: Registry, version: VectorVersion, other: Model) -> None:
    before = counts(registry)
    with (
        pytest.raises(ModelMismatchError, match="same-architecture") as caught,
        registry.steer(other, "team/v", layer=1),
    ):
        pass
    assert version.model.fingerprint.digest[:19] in str(caught.value) and "--allow-mismatch" in caught.value.hint
    with pytest.raises(ModelMismatchError):
        registry.evaluations.propensity("team/v", model=other)
    assert counts(registry) == before and registry.evaluations.ls() == []


def test_an_allowed_mismatch_is_recorded_where_it_is_used(
    registry: Registry, version: VectorVersion, other: Model
) -> None:
    for layer, positions in ((7, None), (1, "nowhere")):
        with (
            pytest.raises(UsageError),
            registry.steer(other, "team/v", layer=layer, positions=positions, allow_mismatch=True),
        ):  # type: ignore[arg-type]
            pass
    assert all(action != "apply-to-mismatched-model" for action, _ in events(registry))
    with registry.steer(other, "team/v", layer=1, allow_mismatch=True):
        pass
    action, subject = events(registry)[-1]
    assert action == "apply-to-mismatched-model"
    assert subject == {
        "vector": "team/v:v1",
        "digest": version.digest,
        "model": other.info.name,
        "fingerprint": other.info.fingerprint.digest,
        "verdict": "same-architecture",
    }


def test_the_same_weights_with_another_template_are_the_same_model(
    registry: Registry, version: VectorVersion, tiny: TinyModels
) -> None:
    from support.tiny_models import CHAT

    chatty = tiny("llama", chat=CHAT)
    with registry.steer(chatty, "team/v", layer=1):
        pass
    assert events(registry)[-1][0] == "compute"


def test_another_width_never_fits(registry: Registry, version: VectorVersion, tiny: TinyModels) -> None:
    wide = tiny("llama", hidden_size=32)
    with (
        pytest.raises(ModelMismatchError, match="is 64 wide"),
        registry.steer(wide, "team/v", layer=1, allow_mismatch=True),
    ):
        pass
    assert events(registry)[-1][0] == "compute"


def test_names_that_are_not_there_say_so(registry: Registry, model: Model, tmp_path: Path) -> None:
    registry.datasets.import_(jsonl(tmp_path / "p.jsonl", letters()), name="team/pairs")
    with pytest.raises(NotFoundError, match="team/pears"):
        registry.aliases.set("team/pears", "best")
    with (
        pytest.raises(NotFoundError, match="there is no vector team/pairs"),
        registry.steer(model, "team/pairs", layer=1),
    ):
        pass


def test_a_table_of_next_tokens_has_at_every_place_what_steering_there_gives(
    registry: Registry, version: VectorVersion, model: Model
) -> None:
    table = registry.next_tokens(model, "team/v", PROMPT, multipliers=[-2, 0, 1.5], positions="all", top=3)
    assert (table.vector.digest, table.positions, list(table.layers)) == (version.digest, "all", version.layer_numbers)
    assert list(table.unsteered) == close(model.next_tokens(PROMPT, top=3))
    for layer, row in table.layers.items():
        assert row[1] == table.unsteered
        for multiplier, found in zip(table.multipliers, row, strict=True):
            with registry.steer(model, version, layer=layer, multiplier=multiplier, positions="all"):
                assert list(found) == close(model.next_tokens(PROMPT, top=3))
    with pytest.raises(UsageError, match="0 tokens cannot be listed"):
        registry.next_tokens(model, version, PROMPT, top=0)


def close(tokens: list[NextToken]) -> list[NextToken]:
    """The same tokens, with figures that equal what is nearly them."""
    return [
        replace(
            token, probability=pytest.approx(token.probability, abs=1e-5), logit=pytest.approx(token.logit, abs=1e-4)
        )
        for token in tokens
    ]


def test_a_table_of_next_tokens_lists_tokens_by_name_as_an_alias_recommends(
    registry: Registry, version: VectorVersion, model: Model
) -> None:
    registry.aliases.set("team/v:v1", "best", Recommendation((1,), 1.5, "all"))
    table = registry.next_tokens(model, "team/v:best", PROMPT, layers=[1], tokens=["No", " yes"])
    assert (list(table.multipliers), table.positions, list(table.layers)) == ([1.5], "all", [1])
    with registry.steer(model, "team/v:best"):
        assert list(table.layers[1][0]) == close(model.next_tokens(PROMPT, tokens=["No", " yes"]))
    with pytest.raises(UsageError, match=r"'Yes No' is 3 tokens of .*: 'Y', 'es', ' No'"):
        registry.next_tokens(model, version, PROMPT, tokens=["Yes No"])


def test_a_table_of_next_tokens_is_refused_for_another_model(
    registry: Registry, version: VectorVersion, other: Model
) -> None:
    before = dump(f"sqlite:///{registry.database.path}")
    with pytest.raises(ModelMismatchError, match="--allow-mismatch"):
        registry.next_tokens(other, version, PROMPT)
    with pytest.raises(UsageError, match="the prompt is empty"):
        registry.next_tokens(other, version, " ", allow_mismatch=True)
    assert dump(f"sqlite:///{registry.database.path}") == before
    registry.next_tokens(other, version, PROMPT, allow_mismatch=True)
    assert events(registry)[-1][0] == "apply-to-mismatched-model"
