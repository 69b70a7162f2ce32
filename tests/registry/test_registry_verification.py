"""Versions of vectors that are checked and computed again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np
import pytest
from support.adapters import of_mlx_lm

from caa_registry.errors import IntegrityError, UsageError
from caa_registry.registry.records import RecomputedLayer, Verification
from caa_registry.registry.registry import Registry

if TYPE_CHECKING:
    from support.tiny_models import TinyModels

    from caa_registry.registry.records import DatasetVersion


@pytest.fixture
def folder(tiny: TinyModels, tmp_path: Path) -> Path:
    """A model of the test's own, which it may damage."""
    return Path(shutil.copytree(tiny.folder("llama"), tmp_path / "model"))


@pytest.fixture
def vector(registry: Registry, pairs: DatasetVersion, folder: Path) -> str:
    return registry.vectors.compute("team/vector", dataset=pairs, model=folder).reference


def test_what_was_not_touched_holds_with_the_same_bits(registry: Registry, vector: str) -> None:
    assert registry.vectors.verify(vector) == Verification(vector, 4)
    found = registry.vectors.verify(vector, recompute=True)
    assert found.holds and not found.differences and not found.environment
    assert all(layer.same_bits and layer.difference == 0 for layer in found.layers)
    assert [layer.layer for layer in found.layers] == registry.vectors.get(vector).layer_numbers
    assert found.run is not None
    run = registry.runs.get(found.run)
    assert (run.run.kind, run.inputs, run.run.parameters["holds"]) == ("verify", [("vector", vector)], True)
    assert registry.audit.ls(vector)[0].subject["verdict"] == "holds"


def changed_weight(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = dict(mx.load(str(path)))
    name = next(name for name in weights if "layers.0" in name and "weight" in name)
    values = np.array(weights[name].astype(mx.float32))
    values.flat[0] += 0.5
    mx.eval(weights)
    mx.save_safetensors(str(path), {**weights, name: mx.array(values).astype(weights[name].dtype)}, {"format": "pt"})


def changed_template(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    text = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant: "
    path.write_text(json.dumps({**settings, "chat_template": text}), encoding="utf-8")


def test_a_weight_that_was_changed_is_named_with_its_file(registry: Registry, vector: str, folder: Path) -> None:
    changed_weight(folder)
    assert registry.vectors.verify(vector).holds  # no model is read
    found = registry.vectors.verify(vector, recompute=True)
    assert not found.holds
    (difference,) = found.differences
    assert difference == "the weights (model.safetensors) of model model are not what was recorded"
    assert found.apart and registry.runs.ls(kind="verify")[0].run.parameters["holds"] is False
    # The vector stays what it was.
    assert registry.vectors.verify(vector).holds


def test_a_template_that_was_changed_is_named(registry: Registry, vector: str, folder: Path) -> None:
    changed_template(folder)
    found = registry.vectors.verify(vector, recompute=True)
    assert not found.holds
    assert any("chat template of model model is not what was recorded" in each for each in found.differences)


def test_a_pair_that_was_changed_is_named(registry: Registry, vector: str) -> None:
    with registry.database.write() as session:
        connection = session.connection()
        connection.exec_driver_sql("DROP TRIGGER keep_pair_update")
        (digest,) = connection.exec_driver_sql("SELECT pair_digest FROM dataset_member WHERE position = 2").fetchone()
        connection.exec_driver_sql("UPDATE pair SET prompt = prompt || '?' WHERE digest = ?", (digest,))
    for recompute in (False, True):
        with pytest.raises(IntegrityError, match=digest[:19]):
            registry.vectors.verify(vector, recompute=recompute)
    assert registry.runs.ls(kind="verify") == []


def test_a_number_that_was_changed_is_found(registry: Registry, vector: str) -> None:
    with registry.database.write() as session:
        connection = session.connection()
        connection.exec_driver_sql("DROP TRIGGER keep_blob_update")
        data = bytearray(connection.exec_driver_sql("SELECT data FROM blob").scalar())
        data[-1] ^= 1
        connection.exec_driver_sql("UPDATE blob SET data = ?", (bytes(data),))
    with pytest.raises(IntegrityError):
        registry.vectors.verify(vector)


def test_a_model_that_moved_is_given(registry: Registry, vector: str, folder: Path, tmp_path: Path) -> None:
    moved = folder.rename(tmp_path / "elsewhere")
    assert registry.vectors.verify(vector, recompute=True, model=moved).holds


def test_an_adapter_that_moved_or_changed_is_given(
    registry: Registry, pairs: DatasetVersion, folder: Path, tmp_path: Path
) -> None:
    adapter = of_mlx_lm(tmp_path / "kind", folder)
    adapted = registry.models.load(folder, adapter=adapter)
    vector = registry.vectors.compute("team/adapted", dataset=pairs, model=adapted).reference
    moved = adapter.rename(tmp_path / "elsewhere")
    assert registry.vectors.verify(vector, recompute=True, adapter=moved).holds
    other = of_mlx_lm(tmp_path / "other", folder, seed=8)
    found = registry.vectors.verify(vector, recompute=True, adapter=other)
    assert found.apart and found.differences == ("the adapter of model model+kind is not what was recorded",)


def test_a_normalized_vector_is_not_computed_from_pairs(
    registry: Registry, vector: str, pairs: DatasetVersion, folder: Path
) -> None:
    other = registry.vectors.compute("team/other", dataset=pairs, model=folder, method="pca")
    normalized, _ = registry.vectors.normalize([vector, other])
    assert registry.vectors.verify(normalized).holds
    with pytest.raises(UsageError, match="is a normalized vector"):
        registry.vectors.verify(normalized, recompute=True)


@pytest.mark.parametrize(
    ("dtype", "difference", "cosine", "holds"),
    [
        ("float32", 9e-5, 0.99999, True),
        ("float32", 2e-4, 0.99999, False),
        ("float32", 9e-5, 0.999, False),
        ("float32", float("nan"), 1.0, False),
        ("bfloat16", 1e-2, 0.99, True),
        ("bfloat16", 1e-1, 0.99, False),
        ("float32", 0.0, None, False),
    ],
)
def test_rounding_is_told_from_difference(dtype: str, difference: float, cosine: float | None, holds: bool) -> None:
    layer = RecomputedLayer(0, False, cosine, difference)
    assert Verification("x:v1", 1, layers=(layer,), dtype=dtype).holds is holds
    assert Verification("x:v1", 1, layers=(RecomputedLayer(0, True, cosine, difference),), dtype=dtype).holds
    assert not Verification("x:v1", 1, ("a pair",), dtype=dtype).holds
