"""Models in the registry: by name, by fingerprint, and where they are now."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from registry.registry_support import check_consistent, events

from caa_registry.errors import UsageError
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
