"""An untrained network of the same shape as a baseline: what it is, what is measured of it, where it is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten
from registry.registry_support import jsonl, letters
from support.tiny_models import LAYERS

from caa_registry import mx_thread
from caa_registry.errors import ModelError, UsageError
from caa_registry.evaluation.shards import MissingShardsError, Shard
from caa_registry.models import weights
from caa_registry.models.model import Model
from caa_registry.models.untrained import untrained
from caa_registry.registry.records import DatasetVersion, Normalized, PropensitySettings, RecordedPropensity
from caa_registry.registry.registry import Registry

if TYPE_CHECKING:
    from support.tiny_models import TinyModels

ASKED = PropensitySettings(controls=(), untrained=True)


@pytest.fixture
def many(registry: Registry, tmp_path: Path) -> DatasetVersion:
    generate, test = (jsonl(tmp_path / f"{name}.jsonl", letters(12, about=name)) for name in ("one", "two"))
    return registry.datasets.import_({"generate": generate, "test": test}, name="team/many")


def parameters(model: Model) -> dict[str, np.ndarray]:
    return {
        name: np.array(value.astype(mx.float32))
        for name, value in mx_thread.run(tree_flatten, model.network.parameters())
    }


def drawn() -> list[float]:
    return np.array(mx.random.uniform(shape=(4,))).tolist()  # type: ignore[no-any-return]


def test_its_weights_depend_on_the_seed_and_nothing_else_does(tiny: TinyModels) -> None:
    model = tiny("llama")
    mx_thread.run(mx.random.seed, 3)
    without = mx_thread.run(drawn)
    mx_thread.run(mx.random.seed, 3)
    one, again, other = untrained(model, 5), untrained(model, 5), untrained(model, 6)
    assert mx_thread.run(drawn) == without
    trained, own = parameters(model), parameters(one)
    assert {name: value.shape for name, value in own.items()} == {name: v.shape for name, v in trained.items()}
    for name, value in own.items():
        np.testing.assert_array_equal(value, parameters(again)[name])
        assert value.ndim == 1 or not np.array_equal(value, parameters(other)[name])
        assert value.ndim == 1 or not np.array_equal(value, trained[name])
    digests = [each.info.fingerprint.digest for each in (model, one, again, other)]
    assert digests[1] == digests[2] and len(set(digests)) == 3


@pytest.mark.parametrize(
    ("family", "options"), [("gpt2", {}), ("mamba", {}), ("qwen3_moe", {}), ("llama", {"bits": 4})]
)
def test_it_is_dense_and_computes_as_the_model_does(tiny: TinyModels, family: str, options: dict[str, int]) -> None:
    model = tiny(family, **options)
    network = untrained(model, 1)
    assert (network.dtype, network.n_layers, network.d_model) == (model.dtype, LAYERS, model.d_model)
    assert not weights.is_quantized(network.network) and network.info.quantization is None
    assert sum(token.probability for token in network.next_tokens("Is it?", top=500)) == pytest.approx(1, abs=1e-3)


def test_what_does_not_fit_beside_the_model_is_refused(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama")
    _ = model.network
    monkeypatch.setattr(weights, "free_memory", lambda: 1000)
    with pytest.raises(ModelError, match=r"untrained: its weights take .* GB, and 0\.0 GB are free"):
        untrained(model, 1)


def test_it_is_measured_beside_the_vector(
    registry: Registry, many: DatasetVersion, model: Model, tmp_path: Path
) -> None:
    vector = registry.vectors.compute("team/v", dataset=many, model=model)
    alone = registry.evaluations.propensity(vector, model=model, settings=PropensitySettings(controls=()))
    found = registry.evaluations.propensity(vector, model=model, settings=ASKED)
    assert found.of() == alone.of() and found.of("steerability") == alone.of("steerability")
    assert isinstance(found.settings, RecordedPropensity) and found.settings.beside.untrained
    assert "untrained" not in alone.settings.to_json()["beside"]
    for metric in ("steerability", "effect", "letter_slope", "auc"):
        scores = found.of(metric, "untrained")
        assert [score.layer for score in scores] == list(range(LAYERS))
    observed = registry.evaluations.measurements(found.id).observed["untrained"]
    own = registry.evaluations.measurements(found.id).vector
    assert (observed.rows, observed.clusters) == (own.rows, own.clusters)
    assert not np.allclose(observed.log_p, own.log_p)
    # The same again, by hand: the recipe's vector on that network, and its answers.
    again = registry.evaluations.propensity(vector, model=model, settings=ASKED)
    assert again.of("auc", "untrained") == found.of("auc", "untrained")
    report = registry.reports.write("team/v", tmp_path / "report").read_text(encoding="utf-8")
    assert "untrained network of the same shape, by layer" in report
    slope = found.at(1, "steerability", "untrained")
    assert slope is not None and f"{slope.value:+.3f}" in report


def test_its_auc_is_that_of_the_recipe_on_its_activations(
    registry: Registry, many: DatasetVersion, model: Model
) -> None:
    from caa_registry.registry.evaluations.propensity.nulls import seed_of

    vector = registry.vectors.compute("team/v", dataset=many, model=model)
    found = registry.evaluations.propensity(vector, model=model, settings=ASKED)
    network = untrained(model, seed_of(vector, "untrained", None))
    own = registry.vectors.compute("team/random", dataset=many, model=network)
    qualities = [layer.quality for layer in own.layers]
    assert [score.value for score in found.of("auc", "untrained")] == [q.auc for q in qualities if q]
    measured = registry.evaluations.propensity(own, model=network, settings=PropensitySettings(controls=()))
    for metric in (None, "steerability", "effect"):
        values = [score.value for score in found.of(metric, "untrained")]
        assert values == pytest.approx([score.value for score in measured.of(metric)], abs=1e-6)


def test_shards_come_to_the_same(registry: Registry, many: DatasetVersion, model: Model) -> None:
    vector = registry.vectors.compute("team/v", dataset=many, model=model)
    whole = registry.evaluations.propensity(vector, model=model, settings=ASKED)
    with pytest.raises(MissingShardsError):
        registry.evaluations.propensity(vector, model=model, settings=ASKED, shard=Shard(1, 2))
    joined = registry.evaluations.propensity(vector, model=model, settings=ASKED, shard=Shard(2, 2))
    assert joined.of("auc", "untrained") == whole.of("auc", "untrained")
    values = [score.value for score in joined.of(None, "untrained")]
    assert values == pytest.approx([score.value for score in whole.of(None, "untrained")], abs=1e-6)


def test_it_is_refused_where_it_is_no_baseline(
    registry: Registry, many: DatasetVersion, pairs: DatasetVersion, model: Model, tiny: TinyModels
) -> None:
    vector = registry.vectors.compute("team/v", dataset=many, model=model)
    other = tiny("llama", seed=1)
    strangers = PropensitySettings(untrained=True, allow_mismatch=True)
    with pytest.raises(UsageError, match="is not the model that team/v:v1 was computed on"):
        registry.evaluations.propensity(vector, model=other, settings=strangers)
    second = registry.vectors.compute("team/w", dataset=pairs, model=model)
    normalized, _ = registry.vectors.normalize([vector, second])
    with pytest.raises(UsageError, match="comes from other vectors"):
        registry.evaluations.propensity(normalized, model=model, split="test", dataset=many, settings=ASKED)
    assert len(registry.evaluations.ls()) == 0


def test_draws_depend_on_what_a_vector_comes_from_and_not_on_its_last_bits(
    registry: Registry, many: DatasetVersion, model: Model
) -> None:
    from caa_registry.registry.evaluations.propensity.nulls import seed_of

    vector = registry.vectors.compute("team/v", dataset=many, model=model)
    seed = seed_of(vector, "covariance", None)
    elsewhere = replace(vector, digest="sha256:" + "1" * 64, tensor_digest="sha256:" + "2" * 64, number=3)
    normalized = replace(vector, recipe=replace(vector.recipe, normalized=Normalized(vector.digest, (vector.digest,))))
    assert seed_of(elsewhere, "covariance", None) == seed_of(normalized, "covariance", None) == seed
    others = (
        seed_of(vector, "shuffled", None),
        seed_of(vector, "covariance", 7),
        seed_of(replace(vector, dataset_digest="sha256:" + "3" * 64), "covariance", None),
        seed_of(replace(vector, recipe=replace(vector.recipe, split="other")), "covariance", None),
    )
    assert len({seed, *others}) == 5
    assert seed_of(elsewhere, "covariance", 7) == seed_of(vector, "covariance", 7)
