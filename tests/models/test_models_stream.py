"""The residual stream: what a tap sees, that it changes nothing, and that nothing of it stays."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten
from mlx_lm.models.cache import ArraysCache, CacheList, KVCache, make_prompt_cache
from support.tiny_models import FAMILIES, LAYERS, WIDTH, TinyModels, build

from caa_registry.errors import ModelError
from caa_registry.models.loading import load
from caa_registry.models.stream import Positions, ResidualStream

IDS = [5, 60, 70, 80, 90, 100, 110, 120, 130, 140, 150, 160]


def run(network: Any, ids: list[int] = IDS) -> np.ndarray:
    return np.array(network(mx.array([ids]), cache=make_prompt_cache(network)).astype(mx.float32))


def identity(layer: int, hidden: mx.array, positions: Positions) -> mx.array:
    return hidden


@contextmanager
def unchanged(network: Any) -> Iterator[None]:
    """The network after the block is, seen from outside, the one before it."""

    def state() -> list[Any]:
        modules = [network, *network.layers]
        return [
            [name for name, _ in tree_flatten(network.parameters())],
            [type(module) for module in modules],
            [sorted(module.__dict__) for module in modules],
        ]

    before = state()
    yield
    assert state() == before


@pytest.mark.parametrize("family", FAMILIES)
def test_identity_tap_changes_no_bit_and_sees_every_block_once_in_order(family: str, tiny: TinyModels) -> None:
    model = tiny(family)
    plain = run(model.network)
    seen: list[tuple[int, tuple[int, ...]]] = []

    def look(layer: int, hidden: mx.array, positions: Positions) -> mx.array:
        seen.append((layer, tuple(hidden.shape)))
        return hidden

    with unchanged(model.network):
        classes = [type(block) for block in model.network.layers]
        names = [name for name, _ in tree_flatten(model.network.parameters())]
        with model.stream.tapped(look):
            tapped = run(model.network)
            assert [name for name, _ in tree_flatten(model.network.parameters())] == names
            assert all(isinstance(b, c) for b, c in zip(model.network.layers, classes, strict=True))
            assert [type(b).__name__ for b in model.network.layers] == [c.__name__ for c in classes]
    np.testing.assert_array_equal(tapped, plain)
    assert seen == [(layer, (1, len(IDS), WIDTH)) for layer in range(LAYERS)]
    np.testing.assert_array_equal(run(model.network), plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_tap_returns_is_what_the_next_block_gets(family: str, tiny: TinyModels) -> None:
    """Donor patching: another prompt's stream after the last block gives the other prompt's logits."""
    model = tiny(family)
    other = [*IDS[:-2], 7, 8]
    donor: list[mx.array] = []

    def keep(layer: int, hidden: mx.array, positions: Positions) -> mx.array:
        if layer == LAYERS - 1:
            donor.append(hidden)
        return hidden

    def patch(layer: int, hidden: mx.array, positions: Positions) -> mx.array:
        return donor[0] if layer == LAYERS - 1 else hidden

    with model.stream.tapped(keep):
        wanted = run(model.network, other)
    with model.stream.tapped(patch):
        np.testing.assert_array_equal(run(model.network), wanted)


def test_exceptions_inside_the_body_and_inside_a_tap_leave_nothing(tiny: TinyModels) -> None:
    model = tiny("llama")

    def broken(layer: int, hidden: mx.array, positions: Positions) -> mx.array:
        if layer == 1:
            raise KeyError("tap")
        return hidden

    with unchanged(model.network):
        with pytest.raises(ZeroDivisionError), model.stream.tapped(identity):
            raise ZeroDivisionError
        with pytest.raises(KeyError), model.stream.tapped(broken):
            run(model.network)
    assert model.stream.prompt_end is None
    seen: list[int] = []
    with model.stream.tapped(lambda layer, h, p: seen.append(layer) or h):  # type: ignore[func-returns-value]
        run(model.network)
    assert seen == [0, 1, 2]


def test_nested_taps_run_in_the_order_they_came_and_end_one_by_one(tiny: TinyModels) -> None:
    model = tiny("llama")
    calls: list[str] = []

    def tap(name: str) -> Any:
        def see(layer: int, hidden: mx.array, positions: Positions) -> mx.array:
            if layer == 0:
                calls.append(name)
            return hidden

        return see

    with unchanged(model.network), model.stream.tapped(tap("outer")):
        with model.stream.tapped(tap("inner")):
            run(model.network)
        run(model.network)
        with pytest.raises(RuntimeError), model.stream.tapped(tap("failing")):
            raise RuntimeError
        run(model.network)
    assert calls == ["outer", "inner", "outer", "outer"]


def test_one_tap_given_twice_runs_twice_and_each_end_removes_one(tiny: TinyModels) -> None:
    model = tiny("llama")
    calls: list[int] = []

    def tap(layer: int, hidden: mx.array, positions: Positions) -> mx.array:
        calls.append(layer)
        return hidden

    with model.stream.tapped(tap), model.stream.tapped(tap):
        run(model.network)
    assert calls == [0, 0, 1, 1, 2, 2]


def test_two_models_of_one_class_do_not_see_each_other(tiny: TinyModels) -> None:
    one, other = tiny("llama"), tiny("llama", seed=1)
    assert type(one.network) is type(other.network)
    plain = run(other.network)
    with one.stream.tapped(lambda layer, h, p: h + 1.0), unchanged(other.network):
        np.testing.assert_array_equal(run(other.network), plain)
        with other.stream.tapped(identity):
            np.testing.assert_array_equal(run(other.network), plain)
        assert not np.array_equal(run(one.network), plain)


def test_a_network_cannot_be_tapped_by_two_streams_at_once(tiny: TinyModels) -> None:
    model = tiny("llama")
    second = ResidualStream(model.network)
    with unchanged(model.network), model.stream.tapped(identity):
        with pytest.raises(ModelError, match="in use"), second.tapped(identity):
            pass
        # The first one is still whole.
        assert len(seen_positions(model, IDS, [len(IDS)])) == 1


def seen_positions(model: Any, ids: list[int], chunks: list[int]) -> list[list[int]]:
    """The positions that layer 0's tap is told, run in chunks over one cache."""
    told: list[list[int]] = []

    def look(layer: int, hidden: mx.array, positions: Positions) -> mx.array:
        if layer == 0:
            told.append(positions.index[0].tolist())
        return hidden

    cache = make_prompt_cache(model.network)
    first = 0
    with model.stream.tapped(look):
        for size in chunks:
            mx.eval(model.network(mx.array([ids[first : first + size]]), cache=cache))
            first += size
    return told


@pytest.mark.parametrize("family", FAMILIES)
def test_positions_are_absolute_in_chunks_and_single_tokens(family: str, tiny: TinyModels) -> None:
    told = seen_positions(tiny(family), IDS, [5, 4, 1, 1, 1])
    assert told == [[0, 1, 2, 3, 4], [5, 6, 7, 8], [9], [10], [11]]


def test_positions_without_a_cache_start_at_zero(tiny: TinyModels) -> None:
    model = tiny("llama")
    told: list[list[int]] = []
    with model.stream.tapped(lambda layer, h, p: told.append(p.index.tolist()) or h):  # type: ignore[func-returns-value]
        model.network(mx.array([IDS]))
        model.network(inputs=mx.array([IDS[:3]]))
    assert told[0] == [list(range(len(IDS)))]
    assert told[-1] == [[0, 1, 2]]


def test_batch_caches_give_a_position_per_row(tiny: TinyModels) -> None:
    from mlx_lm.models.cache import BatchKVCache

    model = tiny("llama")
    told: list[list[list[int]]] = []

    def look(layer: int, hidden: mx.array, positions: Positions) -> mx.array:
        if layer == 0:
            told.append(positions.index.tolist())
        return hidden

    cache = [BatchKVCache([2, 0]) for _ in range(LAYERS)]
    with model.stream.tapped(look):
        mx.eval(model.network(mx.array([[0, 0, 5, 6], [1, 2, 3, 4]]), cache=cache))
        mx.eval(model.network(mx.array([[7], [8]]), cache=cache))
    assert told == [[[-2, -1, 0, 1], [0, 1, 2, 3]], [[2], [4]]]


def test_prompt_ends_are_per_row_and_nest(tiny: TinyModels) -> None:
    stream = tiny("llama").stream
    with stream.prompt([3, 5]):
        assert stream.prompt_end is not None and stream.prompt_end.tolist() == [[3], [5]]
        with pytest.raises(KeyError), stream.prompt(7):
            raise KeyError
        assert stream.prompt_end.tolist() == [[3], [5]]
    assert stream.prompt_end is None


def test_a_block_called_outside_its_network_is_refused(tiny: TinyModels) -> None:
    model = tiny("llama")
    with model.stream.tapped(identity), pytest.raises(ModelError, match="outside its network"):
        model.network.layers[0](mx.zeros((1, 2, WIDTH)), None, None)


def test_deepcopy_of_an_untapped_network_is_tapped_on_its_own(tiny: TinyModels) -> None:
    model = tiny("llama")
    twin = copy.deepcopy(model.network)
    plain = run(twin)
    ResidualStream(twin)
    with model.stream.tapped(lambda layer, h, p: h * 2):
        np.testing.assert_array_equal(run(twin), plain)


class Block(nn.Module):
    def __call__(self, x: mx.array) -> mx.array:
        return x + 1


class Wide(nn.Module):
    def __call__(self, x: mx.array) -> mx.array:
        return mx.concatenate([x, x], axis=-1)


class Flat(nn.Module):
    def __call__(self, x: mx.array) -> mx.array:
        return x[0]


class Foreign(nn.Module):
    """A network whose way through its blocks is ``order``."""

    def __init__(self, blocks: list[nn.Module], order: list[int]) -> None:
        super().__init__()
        self.layers = blocks
        self.order = order

    def __call__(self, tokens: mx.array, cache: Any = None) -> mx.array:
        x = mx.zeros((*tokens.shape, 4))
        for layer in self.order:
            x = self.layers[layer](x)
        return x


SAME = Block()


@pytest.mark.parametrize("counting", [0, 1])
def test_a_count_is_found_inside_a_list_of_caches_and_in_any_layer(counting: int) -> None:
    """Hybrid networks: one layer's cache counts its tokens, another's does not."""
    network = Foreign([Block(), Block()], [0, 1])
    stream = ResidualStream(network)
    cache: list[Any] = [ArraysCache(2), ArraysCache(2)]
    inner = KVCache()
    inner.offset = 7
    cache[counting] = CacheList(ArraysCache(2), inner)
    told: list[Any] = []

    def look(layer: int, hidden: mx.array, positions: Positions) -> mx.array:
        told.append(positions.index.tolist())
        return hidden

    with stream.tapped(look):
        network(mx.array([[1, 2]]), cache=cache)
    assert told == [[[7, 8]], [[7, 8]]]


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (Foreign([Block(), Block()], [0, 1, 1]), r"hits at layers \[0, 1, 1\]"),
        (Foreign([Block(), Block()], [0]), r"2 blocks, hits at layers \[0\]"),
        (Foreign([SAME, SAME], [0, 1]), "stands at several layers"),
        (Foreign([Block(), Wide()], [0, 1]), "one residual stream"),
        (Foreign([Block(), Flat()], [0, 1]), "one residual stream"),
        (Foreign([], []), "no list of blocks"),
        (Foreign([Block()], [0, 1]), "IndexError"),
        (nn.Linear(2, 2), "no list of blocks"),
    ],
)
def test_networks_that_cannot_be_tapped_are_refused_and_left_alone(network: Any, says: str) -> None:
    classes = [type(block) for block in getattr(network, "layers", [])]
    with pytest.raises(ModelError, match=says):
        ResidualStream(network)
    assert [type(block) for block in getattr(network, "layers", [])] == classes
    assert "_caa_hook" not in network.__dict__


def test_an_architecture_that_loops_over_its_blocks_is_refused_at_load(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be tapped"):
        load(build(tmp_path / "m", "nanbeige"))
