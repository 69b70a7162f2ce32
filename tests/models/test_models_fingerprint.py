"""The fingerprint: what it covers, and what it leaves out."""

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

import mlx.core as mx
import pytest
from support.tiny_models import CHAT, TinyModels

from caa_registry.errors import ModelError
from caa_registry.models.folder.fingerprint import Fingerprint, ModelInfo, compare, fingerprint_folder
from caa_registry.models.loading import load

PARTS = ("weights", "config", "tokenizer", "chat_template", "tensors", "files", "adapter")


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
    assert differing(before, after_weights) == ["weights", "tensors"]

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
    mx.save_safetensors(str(two), {"other": mx.zeros(1)})
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


def shards(folder: Path) -> Path:
    """The same model, its tensors in two files."""
    tensors = dict(sorted(mx.load(str(folder / "model.safetensors")).items()))
    names = list(tensors)
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        path = folder / f"model-{number:05}-of-00002.safetensors"
        mx.save_safetensors(str(path), {name: tensors[name] for name in part})
    (folder / "model.safetensors").unlink()
    return folder


def test_the_same_tensors_in_other_files_are_the_same_weights(folder: Path, tmp_path: Path) -> None:
    whole = load(folder).info
    divided = load(shards(Path(shutil.copytree(folder, tmp_path / "divided")))).info
    assert differing(whole.fingerprint, divided.fingerprint) == ["weights"]
    assert compare(whole, divided) == "same-weights"
    # What an earlier version recorded knows files only.
    earlier = replace(whole, fingerprint=replace(whole.fingerprint, tensors=None))
    assert earlier.fingerprint.digest == whole.fingerprint.digest
    assert compare(earlier, whole) == "exact"
    assert compare(earlier, divided) == "same-architecture"


def test_every_other_file_that_is_read_counts_where_it_says_something(folder: Path) -> None:
    before = load(folder).info

    def now() -> ModelInfo:
        return replace(before, fingerprint=fingerprint_folder(folder, config, CHAT))

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    generation = folder / "generation_config.json"
    # It says where answers end what the config says: nothing is new.
    generation.write_text(json.dumps({"eos_token_id": config["eos_token_id"], "top_p": 0.9}), encoding="utf-8")
    assert now().fingerprint == before.fingerprint
    generation.write_text('{"eos_token_id": [1, 7]}', encoding="utf-8")
    other_end = now()
    assert differing(before.fingerprint, other_end.fingerprint) == ["files"]
    assert other_end.fingerprint.digest != before.fingerprint.digest
    assert compare(before, other_end) == "same-weights"
    # Before there was that part, nothing was known of it.
    earlier = replace(before, fingerprint=replace(before.fingerprint, tensors=None))
    assert compare(earlier, other_end) == "exact"
    generation.unlink()
    (folder / "hf_quant_config.json").write_text('{"quantization": {"quant_algo": "NVFP4"}}', encoding="utf-8")
    quantized = now()
    assert differing(before.fingerprint, quantized.fingerprint) == ["tensors", "files"]
    assert compare(before, quantized) == "same-architecture"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_weights_that_are_no_numbers_are_named(folder: Path, dtype: str, value: float) -> None:
    path = folder / "model.safetensors"
    tensors = {name: each.astype(getattr(mx, dtype)) for name, each in mx.load(str(path)).items()}
    name = "model.layers.1.mlp.down_proj.weight"
    tensors[name] = tensors[name].at[3, 5].add(value)
    mx.save_safetensors(str(path), tensors)
    with pytest.raises(ModelError, match=rf"model\.safetensors: the tensor {name} holds NaN or infinite values"):
        load(folder)


def test_verdicts(tiny: TinyModels) -> None:
    info = tiny("llama").info
    assert compare(info, replace(info, name="other", path=None)) == "exact"
    for part in ("config", "tokenizer", "chat_template"):
        changed = replace(info.fingerprint, **{part: "sha256:" + "0" * 64})
        assert compare(info, replace(info, fingerprint=changed)) == "same-weights"
    assert compare(info, tiny("llama", seed=1).info) == "same-architecture"
    assert compare(info, tiny("qwen2").info) == "mismatch"
    other = replace(info.fingerprint, weights="sha256:" + "0" * 64, tensors="sha256:" + "0" * 64)
    adapted = replace(info.fingerprint, adapter="sha256:" + "0" * 64)
    assert compare(info, replace(info, fingerprint=adapted)) == "same-architecture"
    assert compare(info, replace(info, fingerprint=other, n_layers=9)) == "mismatch"
    assert compare(info, replace(info, fingerprint=other, d_model=9)) == "mismatch"
