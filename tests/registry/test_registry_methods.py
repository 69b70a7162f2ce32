"""Other methods on the same pairs, what is measured of each layer, several processes, the paper's normalization."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from registry.registry_support import check_consistent, counts, dump, jsonl, letters

from caa_registry.errors import NotFoundError, UsageError
from caa_registry.extraction.methods import METHODS
from caa_registry.models.model import Model
from caa_registry.registry.records import DatasetVersion, Normalized
from caa_registry.registry.registry import Registry

if TYPE_CHECKING:
    from support.tiny_models import TinyModels


@pytest.fixture
def many(registry: Registry, tmp_path: Path) -> DatasetVersion:
    return registry.datasets.import_(jsonl(tmp_path / "many.jsonl", letters(24)), name="team/many")


def test_a_second_method_asks_the_model_nothing(registry: Registry, many: DatasetVersion, model: Model) -> None:
    made = {
        method: registry.vectors.compute(f"team/{method}", dataset=many, model=model, method=method)
        for method in METHODS
    }
    first, *others = made.values()
    assert first.reading is not None and first.reading.forward_passes > 0
    assert all(version.reading and version.reading.forward_passes == 0 for version in others)
    assert len({version.tensor_digest for version in made.values()}) == len(METHODS)
    for method, version in made.items():
        assert version.recipe.method == method
        run = registry.lineage(version.reference).root.run
        assert run is not None and run.parameters["reading"]["forward_passes"] == version.reading.forward_passes  # type: ignore[union-attr]
        for layer, other in zip(first.layers, version.layers, strict=True):
            assert layer.norm == pytest.approx(other.norm, rel=1e-5)
    check_consistent(registry)


def test_quality_is_stored_with_each_layer(registry: Registry, many: DatasetVersion, model: Model) -> None:
    version = registry.vectors.compute("team/v", dataset=many, model=model)
    again = registry.vectors.get("team/v:v1")
    for layer, vector in zip(again.layers, registry.vectors.load(again).layers, strict=True):
        assert layer.quality is not None and 0 <= layer.quality.auc <= 1
        assert vector.quality == layer.quality
    assert [layer.quality for layer in again.layers] == [layer.quality for layer in version.layers]


def test_too_few_pairs_are_not_measured(registry: Registry, model: Model, tmp_path: Path) -> None:
    few = registry.datasets.import_(jsonl(tmp_path / "few.jsonl", letters(3)), name="team/few")
    version = registry.vectors.compute("team/v", dataset=few, model=model)
    assert all(layer.quality is None for layer in version.layers)


def test_a_model_that_is_being_steered_is_not_read(registry: Registry, many: DatasetVersion, model: Model) -> None:
    version = registry.vectors.compute("team/v", dataset=many, model=model)
    with registry.steer(model, version, layer=1), pytest.raises(UsageError, match="is being steered"):
        registry.vectors.compute("team/w", dataset=many, model=model, method="pca")
    with pytest.raises(NotFoundError):
        registry.vectors.get("team/w")


def test_force_reads_the_model_again(registry: Registry, many: DatasetVersion, model: Model) -> None:
    first = registry.vectors.compute("team/v", dataset=many, model=model)
    again = registry.vectors.compute("team/v", dataset=many, model=model, force=True)
    assert again.reading is not None and first.reading is not None and again.comparison is not None
    assert again.reading.tokens == first.reading.tokens > 0 and again.comparison.holds


def test_without_a_cache_nothing_stays_on_disk(
    registry: Registry, many: DatasetVersion, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAA_ACTIVATION_CACHE", "0")
    first = registry.vectors.compute("team/v", dataset=many, model=model)
    second = registry.vectors.compute("team/w", dataset=many, model=model, method="lda")
    assert first.reading and second.reading and second.reading.tokens == first.reading.tokens > 0
    assert not list(Path(os.environ["CAA_HOME"]).rglob("*.safetensors"))


@pytest.mark.parametrize("size", ["much", "-1GB", "1 XB", ""])
def test_sizes_are_read_or_refused(
    size: str, registry: Registry, many: DatasetVersion, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    from caa_registry import settings

    monkeypatch.setenv("CAA_MEMORY", "1.5 GB")
    assert settings.memory() == 1_500_000_000
    monkeypatch.setenv("CAA_MEMORY", size)
    if size:
        with pytest.raises(UsageError, match=r"CAA_MEMORY: .* is not a size"):
            settings.memory()
    else:
        assert settings.memory() is None


@pytest.mark.long
def test_two_processes_make_the_vector_of_one(
    registry: Registry, many: DatasetVersion, tiny: TinyModels, model: Model, tmp_path: Path
) -> None:
    launch = Path(sys.executable).parent / "mlx.launch"
    command = [launch, "-n", "2", "--", sys.executable, "-m", "caa_registry", "--json", "--registry"]
    command += [str(registry.database.path), "vector", "compute", "team/two", "--dataset", "team/many"]
    command += ["--model", tiny.folder("llama")]
    environment = {**os.environ, "CAA_HOME": str(tmp_path / "home-of-two")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    document = json.loads(done.stdout[done.stdout.index("{") : done.stdout.rindex("}") + 1])
    assert document["reading"]["processes"] == 2 and document["existing"] is False, done.stderr
    one = registry.vectors.compute("team/one", dataset=many, model=model)
    assert one.reading and one.reading.tokens > document["reading"]["tokens"] > 0
    two = registry.vectors.load("team/two:v1")
    for a, b in zip(registry.vectors.load(one).layers, two.layers, strict=True):
        assert np.abs(a.values - b.values).max() <= 1e-5 * np.abs(a.values).max()
    assert registry.vectors.get("team/two").number == 1
    check_consistent(registry)


def test_a_launcher_that_mlx_does_not_know_of_starts_single_processes(
    registry: Registry, many: DatasetVersion, tiny: TinyModels, tmp_path: Path
) -> None:
    """A batch system numbers its processes too; where MLX finds no companions, each works for itself."""
    command = [sys.executable, "-m", "caa_registry", "--json", "--registry", str(registry.database.path)]
    command += ["vector", "compute", "team/v", "--dataset", "team/many", "--model", str(tiny.folder("llama"))]
    environment = {**os.environ, "CAA_HOME": str(tmp_path / "batch-home"), "PMI_RANK": "3"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["reading"]["processes"] == 1


def test_normalizing_gives_every_behavior_the_mean_norm(
    registry: Registry, many: DatasetVersion, pairs: DatasetVersion, model: Model
) -> None:
    sources = [
        registry.vectors.compute("team/a", dataset=many, model=model),
        registry.vectors.compute("team/b", dataset=pairs, model=model, read="last"),
    ]
    made = registry.vectors.normalize(sources)
    assert [v.reference for v in made] == ["team/a-normalized:v1", "team/b-normalized:v1"]
    for source, version in zip(sources, made, strict=True):
        assert version.recipe.normalized == Normalized(source.digest, tuple(sorted(v.digest for v in sources)))
        for i, (old, new) in enumerate(
            zip(registry.vectors.load(source).layers, registry.vectors.load(version).layers, strict=True)
        ):
            mean = float(np.mean([v.layers[i].norm for v in sources]))
            assert new.norm == pytest.approx(mean, rel=1e-6)
            np.testing.assert_allclose(new.values / new.norm, old.values / old.norm, atol=1e-6)
            assert (new.residual_norm, new.quality) == (old.residual_norm, old.quality)
    lineage = registry.lineage("team/b-normalized")
    assert lineage.root.run is not None and lineage.root.run.kind == "normalize"
    assert sorted(parent.reference for parent in lineage.inputs(lineage.root)) == ["team/a:v1", "team/b:v1"]
    before = dump(f"sqlite:///{registry.database.path}")
    assert [v.existing for v in registry.vectors.normalize(sources)] == [True, True]
    assert dump(f"sqlite:///{registry.database.path}") == before
    check_consistent(registry)


def test_what_cannot_be_normalized_is_refused(
    registry: Registry, many: DatasetVersion, model: Model, tiny: TinyModels
) -> None:
    a = registry.vectors.compute("team/a", dataset=many, model=model)
    b = registry.vectors.compute("team/b", dataset=many, model=model, method="pca")
    other = registry.vectors.compute("team/c", dataset=many, model=tiny("llama", seed=1))
    short = registry.vectors.compute("team/d", dataset=many, model=model, layers=[1])
    done = registry.vectors.normalize([a, b])
    before = counts(registry)
    for wanted, said in (
        ([a], "at least two"),
        ([a, a], "at least two"),
        ([a, other], "different models"),
        ([a, short], "different layers"),
        ([a, done[1]], "is normalized already"),
    ):
        with pytest.raises(UsageError, match=said):
            registry.vectors.normalize(wanted)
    with pytest.raises(UsageError):
        registry.vectors.normalize([a, b], suffix=" Bad")
    assert counts(registry) == before
