"""Loading: what is refused and how it is said, dtypes, quantization, the models at hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten
from support.tiny_models import CHAT, CONTEXT, LAYERS, WIDTH, TinyModels, build

from caa_registry.errors import CaaError, HubError, ModelError, NotFoundError, UsageError
from caa_registry.models.loading import DEMO_MODEL, demo_model_folder, load
from caa_registry.models.model import Model


@pytest.fixture
def folder(tiny: TinyModels, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny.folder("llama", chat=CHAT), tmp_path / "model"))


def set_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **values}), encoding="utf-8")


def drop_tokenizer(folder: Path) -> None:
    for file in folder.glob("*token*"):
        file.unlink()


def drop_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def cut_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def write_noise(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 64)


def drop_a_tensor(folder: Path) -> None:
    tensors = mx.load(str(folder / "model.safetensors"))
    tensors.pop("model.norm.weight")
    mx.save_safetensors(str(folder / "model.safetensors"), tensors)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (drop_weights, r"no weights \(model\*\.safetensors\)"),
        (lambda f: (f / "config.json").unlink(), "no config.json"),
        (lambda f: (f / "config.json").write_text("{", encoding="utf-8"), "config.json: is not JSON"),
        (lambda f: (f / "config.json").write_text("[]", encoding="utf-8"), "is not a JSON object"),
        (lambda f: (f / "config.json").write_text("{}", encoding="utf-8"), "model_type is missing"),
        (lambda f: set_config(f, model_type="no_such_type"), "no_such_type not supported"),
        (lambda f: set_config(f, model_type="cache"), "cannot load this model"),
        (lambda f: set_config(f, hidden_size="wide"), "hidden_size is 'wide'"),
        (lambda f: set_config(f, num_attention_heads=0), "num_attention_heads is 0"),
        (cut_weights, "ends early"),
        (write_noise, "is not a safetensors file"),
        (drop_a_tensor, "model.norm.weight"),
        (drop_tokenizer, "no tokenizer"),
    ],
)
def test_a_folder_that_is_not_a_model_is_refused(folder: Path, damage: Callable[[Path], None], says: str) -> None:
    damage(folder)
    with pytest.raises(ModelError, match=says) as caught:
        load(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        {"model_file": "evil.py"},
        {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None], "AutoConfig": "evil.Config"}},
        {"auto_map": {"AutoTokenizer": [None, "evil.Tokenizer"]}},
        {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}},
    ],
)
def test_code_in_a_folder_is_never_run(
    folder: Path, tmp_path: Path, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tokenizer library would ask on a terminal; nobody gets the chance to say yes.
    monkeypatch.setattr("builtins.input", lambda prompt="": "y")
    mark = tmp_path / "it-ran"
    (folder / "evil.py").write_text(
        f"open({str(mark)!r}, 'w').close()\nclass Model: ...\nclass ModelArgs: ...\nclass Config: ...\n"
        "class Tokenizer: ...\n",
        encoding="utf-8",
    )
    set_config(folder, **config)
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings["auto_map"] = config.get("auto_map", {})
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    try:
        load(folder)
    except ModelError as error:
        assert "cannot load this model" in str(error) or "never run" in str(error)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["no-such-folder", "./no/such/folder", "/no/such/folder", "a/b/c", "", "org/"])
def test_what_is_neither_folder_nor_repository_is_not_found(name: str, tmp_path: Path) -> None:
    if name == "":
        # The folder one stands in.
        with pytest.raises(CaaError):
            load(tmp_path)
        return
    with pytest.raises(NotFoundError, match="there is no model folder"):
        load(name)


def test_a_file_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="is a file"):
        load(folder / "model.safetensors")


def test_a_folder_has_no_revision(folder: Path) -> None:
    with pytest.raises(UsageError, match="no revision main"):
        load(folder, revision="main")


def test_a_hub_that_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as constants

    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    # Port 9 of this machine: nobody listens there.
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match=r"no-such-org/no-such-model: .*"):
        load("no-such-org/no-such-model")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="cannot be reached"):
        load("no-such-org/no-such-model")


def test_what_breaks_inside_the_hub_client_is_a_hub_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    [http_error] = [cls for cls in HfHubHTTPError.__mro__ if cls.__name__ == "HTTPError"]

    def download(*args: Any, **kwargs: Any) -> str:
        raise http_error("the line broke")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(HubError, match="the line broke"):
        load("no-such-org/no-such-model")


def test_a_snapshot_gives_repository_and_commit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = folder.rename(folder.parent / commit)
    asked: list[Any] = []

    def download(repo: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((repo, revision))
        # Code and pickles are not even fetched.
        assert not any(pattern.endswith((".py", ".bin", ".pt")) for pattern in allow_patterns)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    info = load("org/model", revision="main").info
    assert (info.name, info.repo_id, info.revision, info.path) == ("org/model", "org/model", commit, None)
    assert asked == [("org/model", "main")]


def test_what_is_known_of_a_folder(folder: Path) -> None:
    info = load(folder).info
    assert (info.name, info.path, info.repo_id, info.revision) == ("model", str(folder.resolve()), None, None)
    assert (info.architecture, info.n_layers, info.d_model) == ("llama", LAYERS, WIDTH)
    assert (info.context_length, info.quantization) == (CONTEXT, None)


def dtypes(model: Model) -> set[str]:
    return {str(v.dtype) for _, v in tree_flatten(model.network.parameters()) if mx.issubdtype(v.dtype, mx.floating)}


@pytest.mark.parametrize("stored", ["float16", "bfloat16"])
def test_weights_are_widened_on_a_cpu_and_only_there(stored: str, tiny: TinyModels) -> None:
    if mx.default_device() == mx.Device(mx.cpu):
        model = tiny("llama", dtype=stored)
        assert (model.dtype, dtypes(model)) == ("float32", {"mlx.core.float32"})
    kept = tiny("llama", dtype=stored, compute=stored)
    assert (kept.dtype, dtypes(kept)) == (stored, {f"mlx.core.{stored}"})


def test_a_dtype_that_is_none_is_refused(folder: Path) -> None:
    for dtype in ("int8", "float99"):
        with pytest.raises(UsageError, match="there is no dtype"):
            load(folder, dtype=dtype)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("compute", [None, "float16"])
def test_quantized_models(bits: int, compute: str | None, tiny: TinyModels) -> None:
    model = tiny("llama", bits=bits, dtype="float16", compute=compute)
    assert model.info.quantization == {"group_size": 32, "bits": bits}
    quantized = [name for name, v in tree_flatten(model.network.parameters()) if v.dtype == mx.uint32]
    # A CPU dequantizes to float32: test_models_weights.py.
    dequantized = compute is None and mx.default_device() == mx.Device(mx.cpu)
    assert any("q_proj" in name for name in quantized) is not dequantized
    assert dtypes(model) == {f"mlx.core.{model.dtype}"}
    assert (model.n_layers, model.d_model) == (LAYERS, WIDTH)
    assert model.generate("Is the sky blue?", max_tokens=4)


def test_the_demo_model(demo: Model) -> None:
    assert demo.info.name == DEMO_MODEL
    assert (demo.info.path, demo.info.repo_id) == (None, None)
    assert demo.default_template == "chat"
    assert load(demo_model_folder()).info == demo.info
    assert demo.generate("hello", max_tokens=3)


@pytest.mark.parametrize("name", ["tinytalk-3m-chat", "stories260K"])
def test_models_that_others_trained(name: str, shared: Path) -> None:
    folder = shared / "models" / name
    if not folder.is_dir():
        pytest.skip(f"the model {name} is not here (../shared/models beside the repository)")
    model = load(folder)
    assert model.default_template == ("chat" if "chat" in name else "plain")
    text = model.generate("Once upon a time", max_tokens=8)
    assert text.strip()
    assert text == model.generate("Once upon a time", max_tokens=8, cache=False)
    tokens = model.template().complete("Is it?", "(A)")
    assert "A" in model.tokenizer.decode([tokens.ids[tokens.answer]])


def test_loading_a_model_twice_gives_equal_models(tmp_path: Path) -> None:
    path = build(tmp_path / "m", "llama", seed=5)
    one, other = load(path), load(path)
    assert one.info == other.info
    ids = mx.array([[3, 4, 5]])
    np.testing.assert_array_equal(np.array(one.network(ids)), np.array(other.network(ids)))
