"""Computing vectors: a version appears whole, with its run; the same recipe is the same version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from registry.registry_support import check_consistent, counts, dump, events, jsonl, letters
from sqlalchemy import select

from caa_registry.catalog import models as t
from caa_registry.digests import digest_bytes
from caa_registry.errors import InputError, RegistryError, UsageError
from caa_registry.models.model import Model
from caa_registry.models.stream import ResidualStream
from caa_registry.registry.records import DatasetVersion, Reading
from caa_registry.registry.registry import Registry
from caa_registry.vectors import LayerVector, VectorSet

if TYPE_CHECKING:
    from support.tiny_models import TinyModels


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """One entry for every batch that a model runs."""
    seen: list[int] = []
    original = ResidualStream.prompt

    def prompt(self: ResidualStream, ends: Any) -> AbstractContextManager[None]:
        seen.append(1 if isinstance(ends, int) else len(ends))
        return original(self, ends)

    monkeypatch.setattr(ResidualStream, "prompt", prompt)
    yield seen


def test_a_computation_is_a_version_with_layers_run_and_event(
    registry: Registry, pairs: DatasetVersion, model: Model
) -> None:
    seen: list[tuple[int, int]] = []
    version = registry.vectors.compute(
        "team/v", dataset=pairs, model=model, progress=lambda done, total: seen.append((done, total))
    )
    assert (version.reference, version.dataset, version.dataset_digest) == ("team/v:v1", "team/pairs:v1", pairs.digest)
    assert (version.layer_numbers, version.d_model, version.existing) == ([0, 1, 2], 64, False)
    assert version.recipe.to_json() == {
        "method": "mean-difference",
        "split": "generate",
        "read": "answer",
        "template": "plain",
        "template_digest": version.recipe.template_digest,
        "layers": [0, 1, 2],
        "dtype": "float32",
        "pairs": 4,
        "skipped_too_long": 0,
    }
    assert version.model.fingerprint == model.info.fingerprint
    stored = registry.vectors.load(version)
    for vector, record in zip(stored.layers, version.layers, strict=True):
        assert (vector.norm, vector.sha256) == (record.norm, record.sha256)
        assert record.residual_norm and record.residual_norm > 0
        assert np.array_equal(registry.vectors.layer("team/v", vector.layer).values, vector.values)
    total = seen[0][1]
    assert seen[0] == (0, total) and seen[-1] == (total, total) and seen == sorted(seen)
    with registry.database.read() as session:
        run = session.scalars(select(t.Run).where(t.Run.kind == "compute")).one()
        links = {(io.direction, io.kind) for io in session.scalars(select(t.RunIO).where(t.RunIO.run_id == run.id))}
    reading = (
        {"forward_passes": version.reading.forward_passes, "tokens": version.reading.tokens} if version.reading else {}
    )
    assert run.actor == "ada" and run.parameters == {
        "name": "team/v",
        **version.recipe.to_json(),
        "reading": {**reading, "processes": 1, "not_shared": ""},
    }
    assert reading["forward_passes"] > 0 and reading["tokens"] > 0
    assert run.finished_at >= run.started_at and run.environment["packages"]["mlx"]
    assert links == {("input", "dataset"), ("input", "model"), ("output", "vector")}
    assert events(registry)[-1] == ("compute", {"run": run.id, "vector": "team/v:v1", "digest": version.digest})
    check_consistent(registry)


def test_the_same_recipe_is_found_without_asking_the_model(
    registry: Registry, pairs: DatasetVersion, model: Model, forwards: list[int]
) -> None:
    first = registry.vectors.compute("team/v", dataset=pairs, model=model)
    computed = list(forwards)
    assert computed
    before = dump(f"sqlite:///{registry.database.path}")
    again = registry.vectors.compute("team/v", dataset="team/pairs:v1", model=model, layers=[2, 1, 0, 0], read="answer")
    assert (again.existing, again.reference, again.digest) == (True, first.reference, first.digest)
    assert forwards == computed
    assert dump(f"sqlite:///{registry.database.path}") == before


def test_force_computes_again_and_compares(
    registry: Registry, pairs: DatasetVersion, model: Model, forwards: list[int]
) -> None:
    first = registry.vectors.compute("team/v", dataset=pairs, model=model, force=True)
    assert first.comparison is None
    once = list(forwards)
    again = registry.vectors.compute("team/v", dataset=pairs, model=model, force=True)
    # Groups are read side by side, in whatever order.
    assert once and sorted(forwards) == sorted(once * 2)
    assert again.existing and again.comparison is not None and again.comparison.holds
    assert again.comparison.max_difference < 1e-6 and again.comparison.min_cosine > 0.999999
    assert counts(registry)["vector_version"] == 1


def test_a_recomputation_that_differs_does_not_hold(
    registry: Registry, pairs: DatasetVersion, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.vectors.compute("team/v", dataset=pairs, model=model)
    from caa_registry.extraction import compute as module

    original = module.compute

    def turned(*arguments: Any, **options: Any) -> VectorSet:
        computed = original(*arguments, **options)
        return VectorSet.of(LayerVector(v.layer, np.roll(v.values, 1), v.residual_norm) for v in computed.layers)

    monkeypatch.setattr(module, "compute", turned)
    again = registry.vectors.compute("team/v", dataset=pairs, model=model, force=True)
    assert again.comparison and not again.comparison.holds


@pytest.mark.parametrize(
    "change", [{"read": "last"}, {"layers": [1]}, {"split": "test"}, {"template": "llama-2"}], ids=str
)
def test_another_recipe_is_the_next_version(
    registry: Registry, pairs: DatasetVersion, model: Model, change: dict[str, Any]
) -> None:
    registry.vectors.compute("team/v", dataset=pairs, model=model)
    second = registry.vectors.compute("team/v", dataset=pairs, model=model, **change)
    assert (second.reference, second.existing) == ("team/v:v2", False)
    assert registry.vectors.compute("team/v", dataset=pairs, model=model).reference == "team/v:v1"
    assert [version.reference for version in registry.vectors.ls()] == ["team/v:v2"]
    check_consistent(registry)


def test_another_dataset_model_or_name_is_another_version(
    registry: Registry, pairs: DatasetVersion, model: Model, tiny: TinyModels, tmp_path: Path
) -> None:
    other_pairs = registry.datasets.import_(jsonl(tmp_path / "o.jsonl", letters(5)), name="team/pairs")
    made = [
        registry.vectors.compute("team/v", dataset=pairs, model=model),
        registry.vectors.compute("team/v", dataset=other_pairs, model=model),
        registry.vectors.compute("team/v", dataset=pairs, model=tiny("llama", seed=1)),
        registry.vectors.compute("team/w", dataset=pairs, model=model),
    ]
    assert [version.reference for version in made] == ["team/v:v1", "team/v:v2", "team/v:v3", "team/w:v1"]
    assert made[0].digest == made[3].digest and len({version.digest for version in made}) == 3
    assert [record.vectors for record in registry.models.ls()] == [3, 1]
    check_consistent(registry)


def test_pairs_that_exceed_the_context_are_left_out_and_counted(
    registry: Registry, model: Model, tmp_path: Path
) -> None:
    long = {"prompt": "why " * 200, "positive": "(A)", "negative": "(B)"}
    dataset = registry.datasets.import_(jsonl(tmp_path / "l.jsonl", [*letters(3), long]), name="team/long")
    version = registry.vectors.compute("team/v", dataset=dataset, model=model)
    assert (version.recipe.pairs, version.recipe.skipped_too_long) == (3, 1)
    before = counts(registry)
    only = registry.datasets.import_(jsonl(tmp_path / "o.jsonl", [long]), name="team/only")
    with pytest.raises(InputError, match="every pair of team/only:v1 is longer than the 96 tokens"):
        registry.vectors.compute("team/w", dataset=only, model=model)
    assert counts(registry) == before | {name: before[name] + 1 for name in ("run", "run_io", "event")}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layers": [3]}, "layer 3 does not exist"),
        ({"layers": [-1]}, "layer -1 does not exist"),
        ({"layers": [10**30]}, "does not exist"),
        ({"layers": []}, "no layer is given"),
        ({"split": "dev"}, "has no split 'dev'"),
        ({"method": "magic"}, "there is no method 'magic'"),
        ({"read": "first"}, "there is no read position 'first'"),
        ({"template": "chat"}, "this model has no chat template"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    registry: Registry, pairs: DatasetVersion, model: Model, change: dict[str, Any], said: str
) -> None:
    before = dump(f"sqlite:///{registry.database.path}")
    with pytest.raises(UsageError, match=said):
        registry.vectors.compute("team/v", dataset=pairs, model=model, **change)
    assert dump(f"sqlite:///{registry.database.path}") == before


def test_the_split_has_to_be_chosen_where_it_is_open(registry: Registry, model: Model, tmp_path: Path) -> None:
    sources = {name: jsonl(tmp_path / f"{name}.jsonl", letters(2, about=name)) for name in ("test", "dev")}
    dataset = registry.datasets.import_(sources, name="team/open")
    with pytest.raises(UsageError, match="has no split 'generate'") as caught:
        registry.vectors.compute("team/v", dataset=dataset, model=model)
    assert "dev, test" in caught.value.hint
    only = registry.datasets.import_({"dev": sources["dev"]}, name="team/dev")
    assert registry.vectors.compute("team/v", dataset=only, model=model).recipe.split == "dev"


def test_a_layer_is_read_alone_and_checked(registry: Registry, pairs: DatasetVersion, model: Model) -> None:
    version = registry.vectors.compute("team/v", dataset=pairs, model=model, layers=[0, 2])
    layer = registry.vectors.layer(version, 2)
    assert digest_bytes(layer.values.tobytes()) == version.layers[1].sha256
    for missing in (1, -1, 10**30):
        with pytest.raises(UsageError, match="has no layer") as caught:
            registry.vectors.layer(version, missing)
        assert caught.value.hint == "It has layers 0, 2."


def test_models_are_known_by_name_folder_and_fingerprint(registry: Registry, tiny: TinyModels) -> None:
    model = tiny("llama")
    record = registry.models.add(model)
    assert registry.models.add(model) == record
    assert registry.models.ls() == [record]
    digest = record.info.fingerprint.digest
    for name in (record.info.name, digest, digest[:15]):
        assert registry.models.get(name) == record
        assert registry.models.load(name).info == record.info
    assert registry.models.verify(digest) == dict.fromkeys(("weights", "config", "tokenizer", "chat_template"), True)
    assert [action for action, _ in events(registry)] == ["add-model"]
    with pytest.raises(UsageError, match="is not on a hub, so it has no revision main"):
        registry.models.add(str(record.info.path), revision="main")


def test_a_changed_model_folder_is_noticed_part_by_part(registry: Registry, tmp_path: Path, tiny: TinyModels) -> None:
    import shutil

    folder = tmp_path / "moving"
    shutil.copytree(tiny.folder("llama"), folder)
    registry.models.add(folder)
    shutil.copy(tiny.folder("llama", seed=1) / "model.safetensors", folder / "model.safetensors")
    assert registry.models.verify("moving") == {
        "weights": False,
        "config": True,
        "tokenizer": True,
        "chat_template": True,
    }
    registry.models.add(folder)
    with pytest.raises(UsageError, match="2 models are called moving") as caught:
        registry.models.get("moving")
    assert "sha256:" in caught.value.hint


def test_equal_pairs_under_another_name_are_the_same_recipe(
    registry: Registry, pairs: DatasetVersion, model: Model, tmp_path: Path, forwards: list[int]
) -> None:
    first = registry.vectors.compute("team/v", dataset=pairs, model=model)
    sources = {split: str(tmp_path / f"{split}.jsonl") for split in ("generate", "test")}
    twin = registry.datasets.import_(sources, name="other/pairs")
    assert twin.digest == pairs.digest and twin.id != pairs.id
    del forwards[:]
    again = registry.vectors.compute("team/v", dataset=twin, model=model)
    assert again.existing and again.reference == first.reference and not forwards


def test_the_reading_of_a_run_is_read_back(registry: Registry, pairs: DatasetVersion, model: Model) -> None:
    version = registry.vectors.compute("team/v", dataset=pairs, model=model)
    run = registry.lineage("team/v").root.run
    assert run is not None and Reading.from_json(run.parameters["reading"], f"run {run.id}") == version.reading
    stored = {"forward_passes": 3, "tokens": 120, "processes": 2, "not_shared": "its cache cannot branch"}
    assert Reading.from_json(stored, "run 1") == Reading(3, 120, 2, "its cache cannot branch")
    assert Reading.from_json(stored, "run 1").to_json() == stored


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": None}, "the reading of run 7 .* 'tokens' is None"),
        ({"processes": "2"}, "'processes' is '2'"),
        ({"revision": 2}, "revision 2; this version reads 1"),
    ],
    ids=str,
)
def test_a_stored_reading_that_cannot_be_read_names_the_run_and_the_key(change: dict[str, Any], message: str) -> None:
    stored = {"forward_passes": 3, "tokens": 120, "processes": 2, "not_shared": "", **change}
    with pytest.raises(RegistryError, match=message):
        Reading.from_json(stored, "run 7")
