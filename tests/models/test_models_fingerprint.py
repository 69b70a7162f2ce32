"""The fingerprint: what it covers, what it leaves out, and the cache of file digests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.tiny_models import CHAT, TinyModels

from caa_registry.errors import ModelError
from caa_registry.models.folder import fingerprint as module
from caa_registry.models.folder.fingerprint import Fingerprint, cached_digest, compare, fingerprint_folder
from caa_registry.models.loading import load
from caa_registry.progress import Progress, silent

PARTS = ("weights", "config", "tokenizer", "chat_template")


@pytest.fixture
def folder(tiny: TinyModels, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny.folder("llama", chat=CHAT), tmp_path / "model"))


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


def of(folder: Path) -> Fingerprint:
    return load(folder).info.fingerprint


def differing(a: Fingerprint, b: Fingerprint) -> list[str]:
    return [part for part in PARTS if getattr(a, part) != getattr(b, part)]


def test_another_process_finds_the_same(folder: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from caa_registry.models.loading import load; print(load(sys.argv[1]).info.fingerprint.digest)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "CAA_HOME": str(tmp_path / "other-home")}
    found = subprocess.run(
        [sys.executable, "-c", program, str(folder)], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == of(folder).digest


def test_each_part_changes_alone(folder: Path) -> None:
    before = of(folder)

    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    after_weights = of(folder)
    assert differing(before, after_weights) == ["weights"]

    edit_json(folder / "config.json", lambda c: c.update(rope_theta=20000.0))
    after_config = of(folder)
    assert differing(after_weights, after_config) == ["config"]

    edit_json(folder / "tokenizer.json", lambda t: t["model"]["merges"].pop())
    after_tokenizer = of(folder)
    assert differing(after_config, after_tokenizer) == ["tokenizer"]

    edit_json(folder / "tokenizer_config.json", lambda c: c.update(additional_special_tokens=["<new>"]))
    after_settings = of(folder)
    assert differing(after_tokenizer, after_settings) == ["tokenizer"]
    after_tokenizer = after_settings

    jinja = folder / "chat_template.jinja"
    jinja.write_text(jinja.read_text(encoding="utf-8") + "{# new #}", encoding="utf-8")
    after_template = of(folder)
    assert differing(after_tokenizer, after_template) == ["chat_template"]
    assert len({f.digest for f in (before, after_weights, after_config, after_tokenizer, after_template)}) == 5


def test_what_a_resave_writes_does_not_matter(folder: Path) -> None:
    before = of(folder)
    volatile = {"_name_or_path": "x", "transformers_version": "9", "torch_dtype": "float16", "_commit_hash": "0"}

    def change(config: dict[str, Any]) -> None:
        # In another order, too.
        items = [*reversed(config.items())]
        config.clear()
        config.update(items)
        config.update(volatile)

    edit_json(folder / "config.json", change)
    assert of(folder) == before


def test_what_a_resave_writes_into_a_part_of_the_config_does_not_matter(folder: Path) -> None:
    def of_config(inner: dict[str, Any]) -> str:
        return fingerprint_folder(folder, {"model_type": "x", "text_config": inner}, "").config

    assert of_config({"hidden_size": 8, "torch_dtype": "float16"}) == of_config({"hidden_size": 8, "dtype": "float16"})
    assert of_config({"hidden_size": 8}) != of_config({"hidden_size": 9})


def test_the_names_of_weight_files_matter(folder: Path) -> None:
    config: dict[str, Any] = {}
    before = fingerprint_folder(folder, config, "").weights
    one = folder / "model-1.safetensors"
    (folder / "model.safetensors").rename(one)
    named = fingerprint_folder(folder, config, "").weights
    two = folder / "model-2.safetensors"
    two.write_bytes(b"other")
    both = fingerprint_folder(folder, config, "").weights
    one.rename(folder / "x")
    two.rename(one)
    (folder / "x").rename(two)
    swapped = fingerprint_folder(folder, config, "").weights
    assert len({before, named, both, swapped}) == 4
    # A file that mlx-lm does not read does not count.
    (folder / "consolidated.safetensors").write_bytes(b"unread")
    assert fingerprint_folder(folder, config, "").weights == swapped


def test_where_the_folder_stands_and_what_it_is_called_does_not_matter(folder: Path, tmp_path: Path) -> None:
    elsewhere = Path(shutil.copytree(folder, tmp_path / "deeper" / "name"))
    assert of(elsewhere) == of(folder)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no weights"):
        fingerprint_folder(tmp_path, {}, "")


def test_verdicts(tiny: TinyModels) -> None:
    info = tiny("llama").info
    assert compare(info, replace(info, name="other", path=None)) == "exact"
    for part in ("config", "tokenizer", "chat_template"):
        changed = replace(info.fingerprint, **{part: "sha256:" + "0" * 64})
        assert compare(info, replace(info, fingerprint=changed)) == "same-weights"
    assert compare(info, tiny("llama", seed=1).info) == "same-architecture"
    assert compare(info, tiny("qwen2").info) == "mismatch"
    other = replace(info.fingerprint, weights="sha256:" + "0" * 64)
    assert compare(info, replace(info, fingerprint=other, n_layers=9)) == "mismatch"
    assert compare(info, replace(info, fingerprint=other, d_model=9)) == "mismatch"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAA_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "cache" / "file-digests.json"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were really read."""
    seen: list[Path] = []
    original = module.digest_file

    def digest_file(path: Path, progress: Progress = silent) -> str:
        seen.append(path)
        return original(path, progress)

    monkeypatch.setattr(module, "digest_file", digest_file)
    return seen


def test_a_file_is_read_once_until_it_changes(store: Path, reads: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    first = cached_digest(file)
    assert cached_digest(file) == first
    assert len(reads) == 1
    # Same size, another time.
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    second = cached_digest(file)
    assert second != first
    # Same size and time, another file.
    replacement = tmp_path / "replacement"
    replacement.write_bytes(b"six")
    os.utime(replacement, ns=(1, 1))
    replacement.replace(file)
    assert cached_digest(file) not in (first, second)
    assert len(reads) == 3


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '"x"', "\udcff", '{"PATH": 3}', '{"PATH": {"identity": "IDENTITY"}}']
)
def test_a_damaged_cache_is_ignored_and_replaced(content: str, store: Path, reads: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    wanted = cached_digest(file)
    stat = file.stat()
    identity = json.dumps([stat.st_size, stat.st_mtime_ns, stat.st_ino])
    content = content.replace("PATH", str(file.resolve())).replace('"IDENTITY"', identity)
    store.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert cached_digest(file) == wanted
    assert cached_digest(file) == wanted
    assert len(reads) == 2


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocker = tmp_path / "home"
    blocker.write_text("a file where the folder should be", encoding="utf-8")
    monkeypatch.setenv("CAA_HOME", str(blocker))
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    assert cached_digest(file) == cached_digest(file)
