"""Models in the registry: by name, by fingerprint, and where they are now."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np
import pytest
from registry.registry_support import check_consistent, events
from sqlalchemy import text
from support.adapters import merge, of_mlx_lm

from caa_registry.errors import ModelMismatchError, UsageError
from caa_registry.registry.records import DatasetVersion
from caa_registry.registry.registry import Registry

if TYPE_CHECKING:
    from support.tiny_models import TinyModels


def test_a_model_that_moved_is_found_where_it_was_added_last(
    registry: Registry, tiny: TinyModels, tmp_path: Path
) -> None:
    old, new = tmp_path / "old" / "m", tmp_path / "new" / "m"
    shutil.copytree(tiny.folder("llama"), old)
    first = registry.models.add(old)
    new.parent.mkdir()
    old.rename(new)
    moved = registry.models.add(new)
    assert (moved.id, moved.info.path) == (first.id, str(new))
    assert all(registry.models.verify("m").values())
    action, subject = events(registry)[-1]
    assert action == "move-model" and (subject["from"], subject["to"]) == (str(old), str(new))
    check_consistent(registry)


def test_two_models_of_one_name_are_told_apart_by_fingerprint_or_folder(
    registry: Registry, tiny: TinyModels, tmp_path: Path
) -> None:
    folders = [tmp_path / str(seed) / "m" for seed in (0, 1)]
    for seed, folder in enumerate(folders):
        shutil.copytree(tiny.folder("llama", seed=seed), folder)
    records = [registry.models.add(folder) for folder in folders]
    with pytest.raises(UsageError, match="2 models are called m"):
        registry.models.load("m")
    for folder, record in zip(folders, records, strict=True):
        digest = record.info.fingerprint.digest
        assert registry.models.load(digest[:20]).info.path == str(folder)
        assert registry.models.load(folder).info.fingerprint == record.info.fingerprint


@pytest.fixture
def folder(tiny: TinyModels, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny.folder("llama"), tmp_path / "m"))


def test_verify_reads_the_bytes_and_asks_no_cache(
    registry: Registry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from caa_registry.models.folder import digests

    registry.models.add(folder)
    path = folder / "model.safetensors"
    # What remembers nothing but size and time: a file system that keeps no more.
    monkeypatch.setattr(digests, "look", lambda file: (0, 0, 0, 0))
    registry.models.load(folder)
    assert all(registry.models.verify("m").values())
    stat = path.stat()
    with path.open("r+b") as file:
        file.seek(-5, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-5, os.SEEK_END)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert registry.models.verify("m") == {
        "weights": False,
        "config": True,
        "tokenizer": True,
        "chat_template": True,
    }


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("hf_quant_config.json", '{"quantization": {"quant_algo": "NVFP4"}}'),
        ("generation_config.json", '{"eos_token_id": 7}'),
    ],
)
def test_a_file_that_came_later_is_found_where_it_is_read(
    registry: Registry, folder: Path, name: str, content: str
) -> None:
    registry.models.add(folder)
    assert "files" not in registry.models.verify("m")
    (folder / name).write_text(content, encoding="utf-8")
    assert registry.models.verify("m")["files"] is False
    # Whether there was such a file when an earlier version recorded it, nobody knows.
    with registry.workspace.database.write() as session:
        session.execute(text("DROP TRIGGER keep_model_tensors_update"))
        session.execute(text("UPDATE model SET tensors = NULL"))
    assert all(registry.models.verify("m").values())


def test_the_same_tensors_in_two_files_verify(
    registry: Registry, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry.models.add(folder)
    tensors = sorted(mx.load(str(folder / "model.safetensors")).items())
    for number in (1, 2):
        part = dict(tensors[number - 1 :: 2])
        mx.eval(part)
        mx.save_safetensors(str(folder / f"model-0000{number}-of-00002.safetensors"), part)
    (folder / "model.safetensors").unlink()
    assert all(registry.models.verify("m").values())
    assert "other files than when it was recorded; every tensor is the same" in caplog.text


def test_what_an_earlier_version_recorded_gets_its_tensors_once(registry: Registry, folder: Path) -> None:
    first = registry.models.add(folder)
    with registry.workspace.database.write() as session:
        session.execute(text("DROP TRIGGER keep_model_tensors_update"))
        session.execute(text("UPDATE model SET tensors = NULL"))
    assert registry.models.get("m").info.fingerprint.tensors is None
    again = registry.models.add(folder)
    assert (again.id, again.info.fingerprint) == (first.id, first.info.fingerprint)


def test_an_adapter_is_a_model_of_its_own(
    registry: Registry, folder: Path, pairs: DatasetVersion, tmp_path: Path
) -> None:
    adapter = of_mlx_lm(tmp_path / "kind", folder)
    plain = registry.vectors.compute("team/plain", dataset=pairs, model=folder)
    adapted = registry.models.load(folder, adapter=adapter)
    with pytest.raises(ModelMismatchError), registry.steer(adapted, plain, layer=1, multiplier=1.0):
        pass
    with registry.steer(adapted, plain, layer=1, multiplier=1.0, allow_mismatch=True):
        pass
    own = registry.vectors.compute("team/plain", dataset=pairs, model=adapted)
    assert own.reference == "team/plain:v2"
    assert registry.vectors.load(own).tensor_digest != registry.vectors.load(plain).tensor_digest
    # What is recorded is found again, adapter and all.
    again = registry.models.load_recorded(own.model)
    assert again.info.fingerprint == adapted.info.fingerprint
    assert registry.models.load("m+kind").info.fingerprint == adapted.info.fingerprint
    assert all(registry.models.verify("m+kind").values())
    assert "adapter" in registry.models.verify("m+kind")
    with pytest.raises(ModelMismatchError), registry.steer(registry.models.load(folder), own, layer=1, multiplier=1.0):
        pass
    path = adapter / "adapters.safetensors"
    changed = dict(mx.load(str(path)))
    mx.save_safetensors(str(path), {name: tensor * 2 for name, tensor in changed.items()})
    assert registry.models.verify("m+kind")["adapter"] is False
    check_consistent(registry)


def test_what_is_extracted_and_steered_is_that_of_merged_weights(
    registry: Registry, folder: Path, pairs: DatasetVersion, tmp_path: Path
) -> None:
    merged = Path(shutil.copytree(folder, tmp_path / "merged"))
    merge(merged)
    adapted = registry.models.load(folder, adapter=of_mlx_lm(tmp_path / "kind", folder))
    models = {"plain": registry.models.load(folder), "adapted": adapted, "merged": registry.models.load(merged)}
    found, following = {}, {}
    for name, model in models.items():
        vector = registry.vectors.compute(f"team/{name}", dataset=pairs, model=model)
        found[name] = np.stack([layer.values for layer in registry.vectors.load(vector).layers])
        with registry.steer(model, vector, layer=1, multiplier=2.0):
            tokens = model.next_tokens("Is the sky blue?", top=400)
            following[name] = np.array([token.probability for token in sorted(tokens, key=lambda token: token.id)])
    for values, off in ((found, 1e-5 * np.abs(found["merged"]).max()), (following, 1e-5)):
        assert np.abs(values["adapted"] - values["merged"]).max() < off
        assert np.abs(values["adapted"] - values["plain"]).max() > 100 * off
