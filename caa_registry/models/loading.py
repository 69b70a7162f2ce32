"""Load a model from a folder, a hub repository, or the one that ships with the package."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caa_registry import mx_thread
from caa_registry.disk import expanded
from caa_registry.errors import HubError, ModelError, NotFoundError, UsageError, one_line, without_secrets
from caa_registry.hub.names import is_commit, parse_hub
from caa_registry.models.folder.adapters import Adapter, open_adapter, refuse_adapter
from caa_registry.models.folder.checks import check_files, checked_config, checked_weights
from caa_registry.models.folder.digests import look
from caa_registry.models.folder.fingerprint import Fingerprint, ModelInfo, fingerprint_folder, weight_files
from caa_registry.models.folder.shards import Stored
from caa_registry.models.rendering.chat import template_text
from caa_registry.models.rendering.sources import complete_template
from caa_registry.package import ASSETS

if TYPE_CHECKING:
    from caa_registry.models.model import Model
    from caa_registry.models.stream import ResidualStream

DEMO_MODEL = "demo"
DTYPES = ("float32", "float16", "bfloat16")
_HUB = "hf:"
_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length")


def is_repository(name: str) -> bool:
    """Whether ``name`` has the form of a hub repository: ``ORG/NAME``, or ``hf:ORG/NAME[@REVISION]``."""
    return _REPO.fullmatch(name) is not None or name.startswith(_HUB)


def is_place(name: str) -> bool:
    """Whether ``name`` says where a model is: ``demo``, a folder, or a hub repository. Other names only a registry
    knows."""
    return name == DEMO_MODEL or Path(name).exists() or is_repository(name)


def demo_model_folder() -> Path:
    """The folder of the demo model, which ``demo`` names."""
    return ASSETS / "demo_model"


def load(
    name: str | Path, *, revision: str | None = None, dtype: str | None = None, adapter: str | Path | None = None
) -> Model:
    """Load ``name``: a folder in Hugging Face layout, ``ORG/NAME`` or ``hf:ORG/NAME[@REVISION]`` on a hub, or ``demo``.

    ``dtype`` is what to compute in (``float32``, ``float16``, ``bfloat16``). By default weights are used as stored on
    a GPU, and widened to float32 on a CPU, which is exact and there the fastest. Quantized weights stay quantized
    and their scales follow the dtype; but float32 on a CPU dequantizes them where they fit into memory, since
    quantized products are many times slower there. ``adapter``: the folder of a LoRA adapter that is put on top.

    Raises ``NotFoundError`` for a folder that is not there, ``ModelError`` for one that mlx-lm
    cannot load, ``HubError`` where the hub does not give it. Custom code in a model folder is never run.
    """
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"there is no dtype {dtype!r}", f"Choose one of {', '.join(DTYPES)}.")
    place = locate(name, revision)
    # Before anything is imported or built: what is wrong with the files is said at once.
    stored = _checked(place[0])
    # Imported by the thread that asks, which an interruption stops.
    import_module("caa_registry.models.model")

    on_top = open_adapter(adapter) if adapter is not None else None
    return mx_thread.run(_loaded, *place, stored, dtype, on_top)


def _checked(folder: Path) -> Stored:
    """What the weight files of ``folder`` hold. Raises ``ModelError`` where one of its files is broken."""
    stored = checked_weights(folder)
    checked_config(folder, len(stored))
    check_files(folder)
    if folder != demo_model_folder():
        from caa_registry.models.folder.trial import try_tokenizer  # most uses of this module load no model

        try_tokenizer(folder)
    return stored


def _loaded(
    folder: Path, repo: str | None, commit: str | None, stored: Stored, dtype: str | None, adapter: Adapter | None
) -> Model:
    from caa_registry.models.folder.vocabulary import check_vocabulary
    from caa_registry.models.model import Model
    from caa_registry.models.stream import ResidualStream
    from caa_registry.models.weights import prepare, unread

    looks = {file: look(file) for file in weight_files(folder)}
    if adapter is not None:
        looks[adapter.weights] = adapter.look  # it is identified already
    network, tokenizer, config = unread(folder, stored)
    if not getattr(tokenizer._tokenizer, "is_fast", False):
        raise ModelError(f"{folder}: its tokenizer has no fast version, so token offsets are unknown")
    complete_template(folder, tokenizer._tokenizer)
    computed = prepare(network, dtype, folder.name)
    if adapter is not None:
        from caa_registry.models.adapters import apply_adapter  # which imports mlx-lm's training

        apply_adapter(network, adapter)
    try:
        stream = ResidualStream(network)
    except ModelError as error:  # which knows the architecture only
        raise ModelError(f"{folder}: {error.message}", error.hint) from error
    check_vocabulary(folder, network, tokenizer._tokenizer, stream.vocabulary)
    info = describe(folder, config, tokenizer._tokenizer, stream, repo, commit, adapter)
    return Model(info, network, tokenizer, stream, computed, looks)


def locate(
    name: str | Path, revision: str | None = None, *, weights: bool = True
) -> tuple[Path, str | None, str | None]:
    """The local folder of a model, and for a hub model its repository and 40-hex commit. ``weights``: whether they are
    fetched from a hub too."""
    if str(name).startswith(_HUB):
        return _download(*_repository(str(name), revision), weights)
    path = expanded(name)
    if revision is not None and (str(name) == DEMO_MODEL or path.exists()):
        raise UsageError(f"{without_secrets(str(name))}: is not a hub repository, so it has no revision {revision}")
    if str(name) == DEMO_MODEL:
        return demo_model_folder(), None, None
    if path.is_dir():
        refuse_adapter(path)
        if not (path / "config.json").is_file():
            raise ModelError(f"{path}: no config.json in this folder", "Give a model in Hugging Face layout.")
        return path.resolve(), None, None
    if path.exists():
        raise ModelError(f"{path}: is a file", "Give the folder of a model.")
    if not is_repository(str(name)):
        raise NotFoundError(
            f"there is no model folder {without_secrets(one_line(str(name), 400))}",
            "Give a folder, a hub repository (ORG/NAME or hf:ORG/NAME[@REVISION]), or 'demo'.",
        )
    return _download(str(name), revision, weights)


def _repository(source: str, revision: str | None) -> tuple[str, str | None]:
    """The repository and the revision of ``hf:ORG/NAME[@REVISION]``."""
    parsed = parse_hub(source)
    if parsed.file is not None:
        raise UsageError(f"{source} names a file, and a model is a whole repository", "Write hf:ORG/NAME[@REVISION].")
    if None not in (parsed.revision, revision) and parsed.revision != revision:
        raise UsageError(f"{source} and the revision {revision} disagree", "Give one of them.")
    return parsed.repo, parsed.revision or revision


def _download(repo: str, revision: str | None, weights: bool) -> tuple[Path, str | None, str | None]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

    from caa_registry.hub.client import check_endpoint, client_errors, translated

    check_endpoint(repo)
    patterns = ["*.json", "tokenizer.model", "*.tiktoken", "*.txt", "*.jinja"]
    patterns += ["model*.safetensors"] if weights else []
    try:
        folder = Path(snapshot_download(repo, revision=revision, allow_patterns=patterns))
    except RepositoryNotFoundError as error:
        raise HubError(
            f"{repo}: not a folder here and not a model on the hub (or a private one)",
            "Check the name; for a private repository set HF_TOKEN.",
        ) from error
    except LocalEntryNotFoundError as error:
        raise HubError(
            f"{repo}: not a folder here, not in the hub cache, and the hub cannot be reached",
            "Check the path or the network (HF_ENDPOINT, HF_HUB_OFFLINE).",
        ) from error
    except client_errors() as error:
        raise translated(error, repo, "model") from error
    # The hub client names a snapshot's folder by its commit.
    commit = folder.name if is_commit(folder.name) else None
    return folder, repo, commit


def describe(
    folder: Path,
    config: dict[str, Any],
    tokenizer: Any,
    stream: ResidualStream,
    repo: str | None,
    commit: str | None,
    adapter: Adapter | None,
) -> ModelInfo:
    """What is known of a loaded model."""
    is_demo = folder == demo_model_folder()
    name = repo or (DEMO_MODEL if is_demo else folder.name)
    return ModelInfo(
        name=name if adapter is None else f"{name}+{adapter.folder.name}",
        fingerprint=_fingerprint(folder, tokenizer, adapter),
        architecture=str(config.get("model_type", "unknown")),
        n_layers=stream.n_layers,
        d_model=stream.d_model,
        context_length=context_length(config),
        quantization=config.get("quantization"),
        repo_id=repo,
        revision=commit,
        path=None if repo or is_demo else str(folder),
        adapter_path=None if adapter is None else str(adapter.folder),
    )


def identify(name: str | Path, *, revision: str | None = None, adapter: str | Path | None = None) -> Fingerprint:
    """The fingerprint of what lies at ``name`` now, of which every byte is read and no network is made.

    Raises ``ModelError`` for a broken folder, ``NotFoundError`` and ``HubError`` as ``load`` does.
    """
    from caa_registry.models.weights import tokenizer_of

    folder, _, _ = locate(name, revision)
    _checked(folder)
    # Where answers end does not matter here.
    tokenizer = tokenizer_of(folder, {})._tokenizer
    complete_template(folder, tokenizer)
    return _fingerprint(folder, tokenizer, open_adapter(adapter, again=True) if adapter else None, again=True)


def _fingerprint(folder: Path, tokenizer: Any, adapter: Adapter | None, *, again: bool = False) -> Fingerprint:
    # The stored config, not the loaded one: mlx-lm adds keys of its own that change with its version.
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return fingerprint_folder(
        folder, config, template_text(tokenizer), adapter=adapter.digest if adapter else None, again=again
    )


def context_length(config: dict[str, Any]) -> int | None:
    """How many tokens a model reads, where its config says so."""
    text_config = config.get("text_config") or {}
    lengths = [c[key] for c in (text_config, config) for key in _CONTEXT_KEYS if isinstance(c.get(key), int)]
    return min(lengths) if lengths else None
