"""LoRA adapters: what they compute, whose identity that is, and which are refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten
from mlx_lm.tuner.utils import linear_to_lora_layers, load_adapters
from mlx_lm.utils import load_model
from support.adapters import LAYERS, PATHS, RANK, SCALE, merge, of_mlx_lm, of_peft
from support.tiny_models import TinyModels, build

from caa_registry.errors import ModelError, NotFoundError
from caa_registry.models import loading
from caa_registry.models.folder.adapters import Adapter, open_adapter
from caa_registry.models.folder.fingerprint import compare
from caa_registry.models.loading import load
from caa_registry.models.model import Model

PROMPT = "Is the sky blue?"
LEAF = re.compile(r"\.(lora_a|lora_b|m)$")


@pytest.fixture
def base(tiny: TinyModels) -> Path:
    return tiny.folder("llama")


def logits(model: Model) -> Any:
    ids = model.template().prompt(PROMPT).ids
    with model.rows([ids], [len(ids) - 1]) as (tokens, cache):
        return np.array(model.network(tokens, cache=cache)[0].astype(mx.float32))


@pytest.mark.parametrize("write", [of_mlx_lm, of_peft])
def test_it_computes_what_merged_weights_compute(base: Path, tmp_path: Path, write: Callable[..., Path]) -> None:
    merged = Path(shutil.copytree(base, tmp_path / "merged"))
    merge(merged)
    expected, plain = logits(load(merged)), logits(load(base))
    found = logits(load(base, adapter=write(tmp_path / "adapter", base)))
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
    assert np.abs(found - plain).max() > 0.01 * np.abs(expected).max()


def test_the_scale_of_rank_stabilized_adapters_is_theirs(base: Path, tmp_path: Path) -> None:
    merged = Path(shutil.copytree(base, tmp_path / "merged"))
    merge(merged, SCALE * RANK / RANK**0.5)
    expected = logits(load(merged))
    found = logits(load(base, adapter=of_peft(tmp_path / "adapter", base, use_rslora=True)))
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_quantized_weights_take_an_adapter_too(tmp_path: Path, dtype: str | None) -> None:
    plain = build(tmp_path / "plain")
    quantized = build(tmp_path / "quantized", bits=8)
    adapter = of_mlx_lm(tmp_path / "adapter", plain)
    before, after = logits(load(quantized, dtype=dtype)), logits(load(quantized, dtype=dtype, adapter=adapter))
    wanted = logits(load(plain, adapter=adapter)) - logits(load(plain))
    off = 0.1 if dtype is None else 0.25
    assert np.abs((after - before) - wanted).max() < off * np.abs(wanted).max()


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("keys", [list(PATHS), [*PATHS, "model.embed_tokens"]])
def test_it_computes_what_mlx_lm_computes(base: Path, tmp_path: Path, kind: str, keys: list[str]) -> None:
    parameters = {"rank": RANK, "scale": SCALE, "dropout": 0.5, "keys": keys}
    folder = of_mlx_lm(tmp_path / "adapter", base, fine_tune_type=kind, lora_parameters=parameters)
    network, _ = load_model(base)
    linear_to_lora_layers(network, len(LAYERS), parameters, use_dora=kind == "dora")
    places = {name: array for name, array in tree_flatten(network.parameters()) if LEAF.search(name)}
    mx.random.seed(3)
    mx.save_safetensors(
        str(folder / "adapters.safetensors"),
        {name: array + 0.1 * mx.random.normal(array.shape) for name, array in places.items()},
    )
    network, _ = load_model(base)
    load_adapters(network, str(folder)).eval()
    network.set_dtype(mx.float32)
    model = load(base, adapter=folder)
    expected = np.array(network(mx.array([model.template().prompt(PROMPT).ids]))[0])
    assert np.abs(logits(model) - expected).max() < 1e-5 * np.abs(expected).max()
    assert np.abs(logits(load(base)) - expected).max() > 0.01 * np.abs(expected).max()


def test_it_has_an_identity_of_its_own(base: Path, tmp_path: Path) -> None:
    plain = load(base).info
    adapter = of_mlx_lm(tmp_path / "a", base)
    on_top = load(base, adapter=adapter).info
    assert (on_top.name, on_top.adapter_path) == (f"{plain.name}+a", str(adapter))
    assert on_top.fingerprint.digest != plain.fingerprint.digest
    assert compare(plain, on_top) == compare(on_top, plain) == "same-architecture"
    # Where it lies and how it was trained is no part of it; what it computes is.
    moved = load(base, adapter=of_mlx_lm(tmp_path / "b", base, iters=7)).info
    assert moved.fingerprint == on_top.fingerprint
    parameters = {"rank": RANK, "scale": 2 * SCALE, "dropout": 0.0, "keys": ["self_attn.q_proj", "mlp.down_proj"]}
    for number, other in enumerate(
        [
            of_mlx_lm(tmp_path / "c", base, lora_parameters=parameters),
            of_mlx_lm(tmp_path / "d", base, seed=8),
            of_peft(tmp_path / "e", base),
        ]
    ):
        assert load(base, adapter=other).info.fingerprint != on_top.fingerprint, number


def test_an_adapter_given_as_a_model_names_the_option(base: Path, tmp_path: Path) -> None:
    for number, write in enumerate((of_mlx_lm, of_peft)):
        folder = write(tmp_path / str(number), base)
        with pytest.raises(ModelError, match="is an adapter, not a model") as raised:
            load(folder)
        assert raised.value.hint is not None
        assert "--adapter" in raised.value.hint and "some/base" in raised.value.hint


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def tensors(change: Callable[[dict[str, mx.array]], None]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        (path,) = folder.glob("*.safetensors")
        found = dict(mx.load(str(path)))
        change(found)
        mx.save_safetensors(str(path), found)

    return changed


A = "model.layers.1.mlp.down_proj.lora_a"
PEFT_A = "base_model.model.model.layers.1.mlp.down_proj.lora_A.weight"


@pytest.mark.parametrize(
    ("write", "broken", "said"),
    [
        (of_mlx_lm, without("adapters.safetensors"), r"no weights \(adapters\.safetensors\)"),
        (of_peft, without("adapter_model.safetensors"), r"no weights \(adapter_model\.safetensors\)"),
        (of_mlx_lm, without("adapter_config.json"), r"no adapter_config\.json in this folder"),
        (of_mlx_lm, config(fine_tune_type="full"), "fine_tune_type is 'full'"),
        (of_mlx_lm, config(lora_parameters=None), "lora_parameters is missing"),
        (of_mlx_lm, config(lora_parameters={"rank": 2, "scale": "x"}), r"lora_parameters\.scale is 'x'"),
        (of_mlx_lm, config(num_layers=-1), "lacks tensors"),
        (of_mlx_lm, config(lora_parameters={"rank": 2, "scale": 1, "keys": ["mlp.up_proj"]}), "no place for"),
        (
            of_mlx_lm,
            config(lora_parameters={"rank": 4, "scale": 1, "keys": ["self_attn.q_proj", "mlp.down_proj"]}),
            "other shapes",
        ),
        (of_mlx_lm, tensors(lambda t: t.pop(A)), f"lacks tensors: {A}"),
        (of_mlx_lm, tensors(lambda t: t.update(extra=mx.zeros(1))), "no place for: extra"),
        (of_mlx_lm, tensors(lambda t: t.update({A: t[A] * float("nan")})), f"the tensor {A} holds NaN or inf"),
        (of_peft, config(use_dora=True), "use_dora is True"),
        (of_peft, config(bias="all"), "bias is 'all'"),
        (of_peft, config(peft_type="IA3"), "peft_type is 'IA3'"),
        (of_peft, config(modules_to_save=["lm_head"]), "modules_to_save"),
        (of_peft, config(rank_pattern={"x": 3}), "rank_pattern"),
        *[
            (of_peft, config(init_lora_weights=kind), f"init_lora_weights is '{kind}'")
            for kind in ("pissa", "pissa_niter_16", "olora", "corda", "loftq")
        ],
        (of_peft, config(alora_invocation_tokens=[1, 2]), "alora_invocation_tokens"),
        (of_peft, config(trainable_token_indices=[1]), "trainable_token_indices"),
        (of_peft, config(target_parameters=["experts.w"]), "target_parameters"),
        (of_peft, config(lora_bias=True), "lora_bias"),
        (of_peft, config(use_qalora=True), "use_qalora"),
        (of_peft, tensors(dict.clear), "holds no tensors"),
        (of_mlx_lm, tensors(dict.clear), "holds no tensors"),
        (of_mlx_lm, config(num_layers=1.5), r"num_layers is 1\.5, where a whole number belongs"),
        (of_peft, config(r=0), "r is 0"),
        (of_peft, config(r=3), "other shapes"),
        (of_peft, tensors(lambda t: t.pop(PEFT_A)), "lacks tensors"),
        (of_peft, tensors(lambda t: t.update({PEFT_A.replace("layers.1", "layers.9"): t[PEFT_A]})), "no linear layer"),
        (of_peft, tensors(lambda t: t.update({"base_model.model.lm_head.weight": mx.zeros(1)})), "no linear layer"),
    ],
)
def test_a_broken_adapter_is_refused_in_a_sentence(
    base: Path, tmp_path: Path, write: Callable[..., Path], broken: Callable[[Path], None], said: str
) -> None:
    folder = write(tmp_path / "adapter", base)
    broken(folder)
    with pytest.raises(ModelError, match=said) as raised:
        load(base, adapter=folder)
    assert "\n" not in raised.value.message
    assert raised.value.hint


def test_a_pointer_and_a_folder_that_is_not_there(base: Path, tmp_path: Path) -> None:
    folder = of_peft(tmp_path / "adapter", base)
    (folder / "adapter_model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(ModelError, match="Git LFS pointer"):
        load(base, adapter=folder)
    with pytest.raises(NotFoundError, match="no adapter folder"):
        load(base, adapter=tmp_path / "none")
    with pytest.raises(ModelError, match=r"no adapter_config\.json") as raised:
        load(base, adapter=base)
    assert raised.value.hint == "Give a model with --model."


def test_an_adapter_of_another_model_is_refused(base: Path, tmp_path: Path) -> None:
    wide = build(tmp_path / "wide", intermediate_size=128)
    with pytest.raises(ModelError, match="other shapes"):
        load(base, adapter=of_mlx_lm(tmp_path / "a", wide))
    with pytest.raises(ModelError, match="other shapes"):
        load(base, adapter=of_peft(tmp_path / "b", wide))


@pytest.mark.parametrize("changed", ["model", "adapter"])
def test_weights_that_change_before_they_are_read_are_refused(base: Path, tmp_path: Path, changed: str) -> None:
    folder = Path(shutil.copytree(base, tmp_path / "model"))
    adapter = of_mlx_lm(tmp_path / "adapter", folder)
    model = load(folder, adapter=adapter)
    path = folder / "model.safetensors" if changed == "model" else adapter / "adapters.safetensors"
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="changed since the model was loaded"):
        model.generate(PROMPT, max_tokens=1)


@pytest.mark.parametrize("start", [None, True, False, "gaussian", "eva", "orthogonal"])
def test_how_a_plain_adapter_began_to_be_trained_does_not_matter(base: Path, tmp_path: Path, start: Any) -> None:
    plain, begun = of_peft(tmp_path / "a", base), of_peft(tmp_path / "b", base, init_lora_weights=start)
    assert load(base, adapter=begun).info.fingerprint == load(base, adapter=plain).info.fingerprint


def test_an_adapter_that_changes_after_it_was_identified_is_refused(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, other = of_mlx_lm(tmp_path / "a", base), of_mlx_lm(tmp_path / "b", base, seed=8)

    def opened(path: str | Path) -> Adapter:
        adapter = open_adapter(path)
        shutil.copy(other / "adapters.safetensors", folder / "adapters.safetensors")
        return adapter

    monkeypatch.setattr(loading, "open_adapter", opened)
    with pytest.raises(ModelError, match="changed since the model was loaded"):
        logits(load(base, adapter=folder))
