"""The weights of a model are read when they are needed, and not before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.tiny_models import LAYERS, WIDTH

from caa_registry.models import model as module
from caa_registry.models import weights
from caa_registry.models.loading import load
from caa_registry.progress import phase, shows_phases

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.tiny_models import TinyModels

    from caa_registry.progress import Progress
    from caa_registry.registry.records import DatasetVersion
    from caa_registry.registry.registry import Registry


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the models whose weights were read."""
    names: list[str] = []
    original: Callable[..., None] = module.read_weights

    def told(network: object, name: str) -> None:
        names.append(name)
        original(network, name)

    monkeypatch.setattr(module, "read_weights", told)
    return names


def test_what_a_model_is_and_how_it_encodes_needs_no_weights(tiny: TinyModels, read: list[str]) -> None:
    model = load(tiny.folder("llama"))
    assert (model.n_layers, model.d_model, model.info.fingerprint.weights[:7]) == (LAYERS, WIDTH, "sha256:")
    model.template("plain").prompt("Is it so?", "")
    assert read == []
    model.next_tokens("Is it so?", template="plain")
    model.next_tokens("Is it?", template="plain")
    assert read == [model.info.name]


def test_a_second_method_from_the_cache_reads_none(
    registry: Registry, pairs: DatasetVersion, tiny: TinyModels, read: list[str]
) -> None:
    folder = tiny.folder("llama")
    registry.models.add(folder)
    assert read == []
    registry.vectors.compute("team/first", dataset=pairs, model=folder)
    assert len(read) == 1
    registry.vectors.compute("team/second", dataset=pairs, model=folder, method="pca")
    assert len(read) == 1


def test_hashing_and_loading_tell_how_far_they_are(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_PIECE", 1 << 14)
    reported: dict[str, list[tuple[int, int]]] = {}

    def show(label: str) -> Progress:
        return lambda done, total: reported.setdefault(label, []).append((done, total))

    folder = tiny.folder("llama")
    with shows_phases(show):
        model = load(folder)
        assert list(reported) == ["hashing model.safetensors"]
        model.next_tokens("Is it so?", template="plain")
    phase(f"loading {model.info.name}")(0, 1)  # nobody looks any more
    assert list(reported) == ["hashing model.safetensors", f"loading {model.info.name}"]
    for steps in reported.values():
        assert [done for done, _ in steps] == sorted({done for done, _ in steps})
        assert {total for _, total in steps} == {steps[-1][0]}
    assert len(reported[f"loading {model.info.name}"]) > 3


def test_reading_that_is_stopped_goes_on_the_next_time(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(tiny.folder("llama"))

    def stop() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(weights, "check", stop)
        model.next_tokens("Is it so?", template="plain")
    assert model.next_tokens("Is it so?", template="plain")
