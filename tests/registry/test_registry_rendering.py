"""The revision of the rendering: recorded where it matters, and named where an earlier vector is used."""

from __future__ import annotations

from pathlib import Path

import pytest
from registry.registry_support import jsonl, letters
from support.chat_templates import DATED, SHAPES
from support.tiny_models import build

from caa_registry.models.loading import load
from caa_registry.models.model import Model
from caa_registry.models.rendering.chat import Chat
from caa_registry.registry.records import DatasetVersion
from caa_registry.registry.registry import Registry

FOLDED = "the system prompt is in the first user message"


def model_of(tmp_path: Path, shape: str) -> Model:
    return load(build(tmp_path / shape, chat=SHAPES[shape].template, max_position_embeddings=512))


def test_a_template_that_every_revision_renders_alike_records_none(
    registry: Registry, pairs: DatasetVersion, tmp_path: Path
) -> None:
    recipe = registry.vectors.compute("team/v", dataset=pairs, model=model_of(tmp_path, "zephyr")).recipe
    assert recipe.rendering == ()
    assert "rendering" not in recipe.to_json()


def test_a_recipe_says_what_is_rendered_otherwise(registry: Registry, pairs: DatasetVersion, tmp_path: Path) -> None:
    version = registry.vectors.compute("team/v", dataset=pairs, model=model_of(tmp_path, "granite"))
    assert version.recipe.rendering == (DATED,)
    assert registry.vectors.get("team/v").recipe.to_json()["rendering"] == {"revision": 2, "differences": [DATED]}


def test_a_system_prompt_without_a_place_is_recorded_and_said_once(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{**row, "system": "Be kind."} for row in letters(4)]
    registry.datasets.import_(jsonl(tmp_path / "s.jsonl", rows), name="team/systems")
    registry.datasets.import_(jsonl(tmp_path / "n.jsonl", letters(4)), name="team/none")
    model = model_of(tmp_path, "gemma")
    with_system = registry.vectors.compute("team/v", dataset="team/systems", model=model).recipe
    assert [record.getMessage()[:45] for record in caplog.records].count(
        "The chat template has no place for a system p"
    ) == 1
    without = registry.vectors.compute("team/w", dataset="team/none", model=model).recipe
    assert (with_system.rendering, without.rendering) == ((FOLDED,), ())
    assert with_system.template_digest != without.template_digest


def test_a_vector_of_an_earlier_revision_applies_and_what_differs_is_named(
    registry: Registry,
    pairs: DatasetVersion,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = model_of(tmp_path, "granite")
    with monkeypatch.context() as patch:
        patch.setattr(Chat, "differences", lambda *_, **__: ())
        earlier = registry.vectors.compute("team/v", dataset=pairs, model=model)
    assert earlier.recipe.rendering == ()
    caplog.clear()

    with registry.steer(model, "team/v:v1", layer=1, multiplier=1.0):
        model.generate("Hi", max_tokens=1)
    assert [record.getMessage() for record in caplog.records] == [
        "team/v:v1 was computed by an earlier version, which rendered its texts differently. "
        "What has changed: the date is fixed."
    ]
    caplog.clear()

    version = registry.vectors.compute("team/v", dataset=pairs, model=model)
    assert version.reference == "team/v:v2"
    assert caplog.records[0].getMessage() == (
        "team/v:v1 has this recipe, but an earlier version rendered its texts differently. "
        "What has changed: the date is fixed."
    )
    caplog.clear()
    with registry.steer(model, "team/v:v2", layer=1, multiplier=1.0):
        pass
    assert not caplog.records
