"""What the package promises of a model, on every architecture of mlx-lm that can be built on a CPU."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten, tree_map
from mlx_lm.models.cache import make_prompt_cache
from numpy.typing import NDArray
from support.architectures import ARCHITECTURES, build_network, family, quantize
from support.architectures_common import WINDOW
from support.architectures_limits import (
    BESIDE_THE_STREAM,
    NOT_ENTERED,
    NOT_QUANTIZED,
    ONE_LENGTH,
    RECOMPUTED_DIFFERS,
    REFUSED_BY_THE_SELF_TEST,
)
from support.architectures_refused import NEEDS_METAL, REFUSED

from caa_registry.engine.checks import DifferentError
from caa_registry.engine.decoding import answers
from caa_registry.engine.decoding.answers import decoded
from caa_registry.engine.decoding.request import Request, Strength
from caa_registry.engine.logits import Answer
from caa_registry.engine.prefix_sharing import read_pairs
from caa_registry.engine.reading import PairTokens, read_activations
from caa_registry.engine.sweeps import Arm, Part, Sweep, run_steered, run_whole
from caa_registry.errors import ModelError
from caa_registry.models import stream as stream_module
from caa_registry.models.folder.fingerprint import Fingerprint, ModelInfo
from caa_registry.models.model import Model
from caa_registry.models.rendering.prompts import CompletedTokens
from caa_registry.models.stream import Positions, ResidualStream
from caa_registry.models.unsupported import UNSUPPORTED
from caa_registry.models.weights import read_weights
from caa_registry.steering.additions import Addition, steering

# Longer than every window, and rows of different lengths on both sides of a window's edge.
ROWS = (
    (5, 60, 70, 80, 90, 100, 110, 120, 130, 140, 150, 15, 25, 35, 45, 55, 65, 75, 85, 95),
    (9, 31, 47, 99, 158, 3, 77, 21, 64, 133, 18, 150, 42),
    (12, 88, 6, 154, 93, 29, 71),
)
PROMPT = ROWS[0][:12]
STEPS = 6


@dataclass(frozen=True)
class Pass:
    """One forward pass: ``logits`` (rows, tokens, vocabulary), ``streams`` (layers, rows, tokens, width)."""

    logits: NDArray[np.float32]
    streams: NDArray[np.float32]
    hits: tuple[int, ...]


@functools.cache
def tiny(name: str, quantized: bool) -> Model:
    return wrap(name, quantize(build_network(name)) if quantized else build_network(name))


def wrap(name: str, network: Any) -> Model:
    stream = ResidualStream(network)
    read_weights(network, name)  # what is not evaluated belongs to this thread
    info = ModelInfo(name, Fingerprint("w", "c", "t", "n"), family(name), stream.n_layers, stream.d_model)
    return Model(info, network, None, stream, "float32")


def untapped(model: Model, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    logits = model.network(mx.array(rows), cache=make_prompt_cache(model.network))
    return np.array(logits.astype(mx.float32))


def tapped(model: Model, rows: Sequence[Sequence[int]]) -> Pass:
    hits: list[int] = []
    streams: list[mx.array] = []

    def look(layer: int, hidden: mx.array, positions: Positions) -> mx.array:
        hits.append(layer)
        streams.append(hidden)
        return hidden

    with model.stream.tapped(look):
        logits = model.network(mx.array(rows), cache=make_prompt_cache(model.network))
    stacked = mx.stack(streams).astype(mx.float32)
    mx.eval(logits, stacked)
    return Pass(np.array(logits.astype(mx.float32)), np.array(stacked), tuple(hits))


@functools.cache
def alone(name: str, row: int, quantized: bool) -> Pass:
    """One of ``ROWS`` as a batch of its own."""
    return tapped(tiny(name, quantized), [ROWS[row]])


def close(actual: NDArray[Any], wanted: NDArray[Any], tolerance: float) -> None:
    scale = float(np.abs(wanted).max())
    assert np.isfinite(scale) and scale > 0
    np.testing.assert_allclose(actual, wanted, rtol=tolerance, atol=tolerance * scale)


def largest(values: NDArray[np.float32]) -> float:
    return float(np.abs(values).max())


def seen_from_outside(network: Any) -> list[Any]:
    modules = [network, *network.layers]
    return [
        [(name, id(value)) for name, value in tree_flatten(network.parameters())],
        [type(module) for module in modules],
        [sorted(module.__dict__) for module in modules],
    ]


def check_taps(name: str, quantized: bool) -> None:
    model = tiny(name, quantized)
    plain = untapped(model, [ROWS[0]])
    values = {k: np.array(v.astype(mx.float32)) for k, v in tree_flatten(model.network.parameters())}
    before = seen_from_outside(model.network)
    seen = alone(name, 0, quantized)
    assert seen.hits == tuple(range(model.n_layers))
    assert seen.streams.shape == (model.n_layers, 1, len(ROWS[0]), model.d_model)
    np.testing.assert_array_equal(seen.logits, plain)
    assert seen_from_outside(model.network) == before
    with model.stream.tapped(lambda layer, hidden, positions: hidden):
        assert seen_from_outside(model.network)[0] == before[0]
        assert all(isinstance(m, t) for m, t in zip([model.network, *model.network.layers], before[1], strict=True))
    for k, v in tree_flatten(model.network.parameters()):
        np.testing.assert_array_equal(np.array(v.astype(mx.float32)), values[k])


def check_padding(name: str, quantized: bool, tolerance: float) -> None:
    width = len(ROWS[0])
    padded = tapped(tiny(name, quantized), [(*row, *[0] * (width - len(row))) for row in ROWS])
    for i, row in enumerate(ROWS):
        close(padded.streams[:, i, : len(row)], alone(name, i, quantized).streams[:, 0], tolerance)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_taps_see_every_block_once_and_change_nothing(name: str) -> None:
    check_taps(name, quantized=False)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_right_padding_is_exact(name: str) -> None:
    check_padding(name, quantized=False, tolerance=1e-4)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if family(name) not in NOT_QUANTIZED])
def test_quantized_networks_are_read_alike(name: str) -> None:
    check_taps(name, quantized=True)
    check_padding(name, quantized=True, tolerance=1e-3)


def patched(model: Model, layer: int, donor: Pass, row: Sequence[int]) -> NDArray[np.float32]:
    """The logits of ``row`` where the stream after ``layer`` is that of another text."""
    stream = mx.array(donor.streams[layer])
    with model.stream.tapped(lambda at, hidden, positions: stream if at == layer else hidden):
        return untapped(model, [row])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_stream_is_all_that_a_block_hands_on(name: str) -> None:
    """The stream of another text, put in after a block, gives the logits of the other text."""
    model, donor = tiny(name, False), alone(name, 1, False)
    row = ROWS[0][: len(ROWS[1])]
    np.testing.assert_array_equal(patched(model, model.n_layers - 1, donor, row), donor.logits)
    middle = patched(model, model.n_layers // 2, donor, row)
    carried = np.array_equal(middle, donor.logits)
    assert carried or family(name) in BESIDE_THE_STREAM
    # Of the others, at least the configuration that the table is about differs.
    assert not carried or family(name) not in BESIDE_THE_STREAM or family(name) == "gemma4_text"


def branched(model: Model, prefixes: Sequence[Sequence[int]], ends: Sequence[Sequence[Sequence[int]]]) -> mx.array:
    """The stream after each block at ``ends``, several to a prefix: the prefixes run once, then their caches repeat."""
    several = len(ends[0])
    cache = make_prompt_cache(model.network)
    mx.eval(model.network(mx.array(prefixes), cache=cache))
    for entry in cache:
        # Beside its arrays a state holds counts and names.
        entry.state = tree_map(
            lambda part: mx.repeat(part, several, axis=0) if isinstance(part, mx.array) else part, entry.state
        )
    rows = [end for of_prefix in ends for end in of_prefix]
    width = max(len(row) for row in rows)
    streams: list[mx.array] = []
    with model.stream.tapped(lambda layer, hidden, positions: streams.append(hidden) or hidden):  # type: ignore[func-returns-value]
        model.network(mx.array([[*row, *[0] * (width - len(row))] for row in rows]), cache=cache)
    return mx.stack(streams).astype(mx.float32)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_prefix_can_be_run_once_for_several_ends(name: str) -> None:
    """A batch of prefixes of one length, shorter and longer than the windows, each with two ends."""
    model = tiny(name, False)
    for length in (3, 12):
        prefixes = [ROWS[0][:length], ROWS[1][:length]]
        ends = [[ROWS[2][:4], ROWS[2][4:5]], [ROWS[0][12:14], ROWS[0][14:19]]]
        streams = np.array(branched(model, prefixes, ends))
        differs = False
        for row, (i, j) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
            wanted = tapped(model, [[*prefixes[i], *ends[i][j]]]).streams[:, 0, length:]
            got = streams[:, row, : len(ends[i][j])]
            if family(name) not in RECOMPUTED_DIFFERS:
                close(got, wanted, 1e-4)
            differs = differs or largest(got - wanted) > 1e-3 * largest(wanted)
        # Where a window's edge is another with a cache, it shows as soon as the prefix is longer than the window.
        assert differs == (family(name) in RECOMPUTED_DIFFERS and length > WINDOW)


@pytest.mark.parametrize("read", ["last", "mean"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_pairs_with_a_shared_prompt_read_as_whole_texts(name: str, read: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Prompts shorter and longer than the windows, completions of one token and of several."""
    model = tiny(name, False)
    pairs = []
    for index, length in enumerate((3, 12, 12)):
        prompt = (*ROWS[index % 2][: length - 1], 17 + index)
        sides = [CompletedTokens(prompt + end, length - 1, length, length + len(end) - 1) for end in ((5,), (9, 31))]
        pairs.append(PairTokens(index, *sides))
    layers = list(range(model.n_layers))
    found = {
        i: row
        for rows in read_pairs(model, pairs, layers, read)
        for i, row in zip(rows.index, rows.values, strict=True)
    }
    fell_back = "run whole" in caplog.text
    for i, side in enumerate(side for pair in pairs for side in (pair.positive, pair.negative)):
        (wanted,) = read_activations(model, [side], layers, read)
        close(found[i], wanted.values[0], 1e-4)
    assert fell_back == (family(name) in RECOMPUTED_DIFFERS)


def generate(model: Model, cached: bool) -> tuple[list[int], NDArray[np.float32]]:
    """Greedy tokens and their logits, with a cache as mlx-lm does it, or by running the whole text for each."""
    ids = list(PROMPT)
    steps: list[NDArray[np.float32]] = []
    cache = make_prompt_cache(model.network)
    with model.stream.prompt(len(PROMPT) - 1):
        if cached:
            mx.eval(model.network(mx.array([ids[:-1]]), cache=cache))
        for _ in range(STEPS):
            chunk = ids[-1:] if cached else ids
            logits = model.network(mx.array([chunk]), cache=cache if cached else make_prompt_cache(model.network))
            steps.append(np.array(logits[0, -1].astype(mx.float32)))
            ids.append(int(steps[-1].argmax()))
    return ids[len(PROMPT) :], np.stack(steps)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_steered_generation_with_a_cache_equals_recomputation(name: str) -> None:
    model = tiny(name, False)
    layer = model.n_layers // 2
    # As long as the stream it is added to.
    vector = np.random.default_rng(0).normal(size=model.d_model) * alone(name, 0, False).streams[layer].std()
    addition = Addition(layer, vector.astype(np.float32))
    plain, plain_logits = generate(model, cached=True)
    with steering(model, [Addition(layer, addition.vector, 0.0)]):
        tokens, logits = generate(model, cached=True)
    assert tokens == plain
    np.testing.assert_array_equal(logits, plain_logits)
    with steering(model, [addition]):
        tokens, logits = generate(model, cached=True)
        again, again_logits = generate(model, cached=False)
    assert largest(logits[0] - plain_logits[0]) > 0.01 * largest(plain_logits[0])
    if family(name) in RECOMPUTED_DIFFERS:
        # Not ours: without steering it is so too.
        _, unsteered = generate(model, cached=False)
        assert largest(plain_logits - unsteered) > 1e-3 * largest(plain_logits)
        return
    close(logits, again_logits, 1e-3)
    assert tokens == again


@pytest.mark.parametrize("positions", ["after_prompt", "all"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_sweep_that_runs_only_what_steering_changes_equals_whole_texts(name: str, positions: Any) -> None:
    """Prompts shorter and longer than the windows. Where blocks are not to be entered, that is found."""
    plain = tiny(name, False)
    model = replace(plain, wrapped_tokenizer=SimpleNamespace(_tokenizer=range(160)))
    texts = [(*ROWS[0][: length - 1], 17 + length) for length in (4, 11, 12, 12)]
    answers = [Answer(text, len(text) - 2, len(text) - 1, (5, 9), either=True) for text in texts]
    draw = np.random.default_rng(0).normal(size=(model.n_layers, model.d_model))
    scales = alone(name, 0, False).streams.std(axis=(1, 2, 3))
    vectors = {layer: (draw[layer] * scales[layer]).astype(np.float32)[None] for layer in range(model.n_layers)}
    run = Sweep(model, answers, 1, [Arm(vectors, [-1.0, 0.5])], positions)
    parts: list[Part] = []
    if family(name) in {*NOT_ENTERED, *RECOMPUTED_DIFFERS}:
        with pytest.raises(DifferentError):
            run_steered(run, parts.extend)
        assert parts == []
        return
    run_steered(run, parts.extend)
    for (whole,) in run_whole(run):
        for part in parts:
            if part.layer == whole.layer:
                np.testing.assert_allclose(part.log_p, whole.log_p[list(part.questions)], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("positions", ["after_prompt", "all"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_answers_in_batches_are_those_alone(
    name: str, positions: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts shorter and longer than the windows, some with a beginning that runs once; answers of many lengths, some
    longer than the windows; steered and unsteered rows. Whatever an architecture needs, it is found."""
    # Rows leave and join: there are sixteen in all, and one token of ten ends an answer.
    monkeypatch.setattr(answers, "_ROWS", 6)
    model = replace(tiny(name, False), wrapped_tokenizer=SimpleNamespace(eos_token_ids=set(range(0, 160, 10))))
    layer = model.n_layers // 2
    vector = np.random.default_rng(0).normal(size=model.d_model) * alone(name, 0, False).streams[layer].std()
    strengths = [Strength(0.0, {}), Strength(1.0, {layer: vector.astype(np.float32)})]
    head = (*ROWS[0], *ROWS[1], *ROWS[0][::-1])
    prompts = [*ROWS, ROWS[0][:3], *(head + tail for tail in (ROWS[1][:5], ROWS[2][:1], ROWS[1][6:11], ROWS[2][:2]))]
    request = Request(model, prompts, strengths, positions, WINDOW + 2, 0.0, 0)
    with caplog.at_level(logging.WARNING):
        found = {row.place: row.ids for rows in decoded(request) for row in rows}
    assert len(found) == len(prompts) * len(strengths)
    for (prompt, strength), ids in found.items():
        one = replace(request, prompts=[prompts[prompt]], strengths=[strengths[strength]])
        ((row,),) = decoded(one)
        assert ids == row.ids
    # One is known by name, since what is compared would not show it; and where nothing is shared nothing is recomputed.
    silent = {"minimax_m3_vl", *(RECOMPUTED_DIFFERS if positions == "all" else ())}
    warned = family(name) in ONE_LENGTH.keys() - silent
    assert ["so prompts of one length go together" in record.getMessage() for record in caplog.records] == [
        True
    ] * warned


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_steered_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_network(name)
    assert family(name) in UNSUPPORTED or family(name) in REFUSED_BY_THE_SELF_TEST
    if family(name) in UNSUPPORTED:
        # Before anything runs.
        monkeypatch.setattr(type(network), "__call__", None)
    with pytest.raises(ModelError) as refusal:
        ResidualStream(network)
    assert refusal.value.message.startswith(f"{family(name)}: ")
    assert UNSUPPORTED.get(family(name), "cannot be") in refusal.value.message


@pytest.fixture
def nothing_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "UNSUPPORTED", {})


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("deepseek_v41", r"one residual stream \(shapes \[\(1, 2, 4, 64\)\]"),
        ("gemma3n", r"one residual stream \(shapes \[\(4, 1, 2, 64\)\]"),
        ("iquestloopcoder", r"hits at layers \[\]"),
        ("olmo", r"cannot be run on tokens alone"),
        ("nanbeige/loops", r"hits at layers \[0, 1, 2, 3, 0, 1, 2, 3\]"),
    ],
)
@pytest.mark.usefixtures("nothing_refused")
def test_the_self_test_finds_what_it_can(name: str, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        ResidualStream(build_network(name))


@pytest.mark.skipif(mx.metal.is_available(), reason="there is Metal here")
@pytest.mark.parametrize("name", NEEDS_METAL)
def test_what_needs_metal_is_refused_where_there_is_none(name: str) -> None:
    with pytest.raises(ModelError, match="cannot be run on tokens alone"):
        ResidualStream(build_network(name))


@pytest.mark.usefixtures("nothing_refused")
def test_kimi_k3_hands_on_more_than_its_stream_even_after_the_last_block() -> None:
    model = wrap("kimi_k3", build_network("kimi_k3"))
    donor = tapped(model, [ROWS[1]])
    logits = patched(model, model.n_layers - 1, donor, ROWS[0][: len(ROWS[1])])
    assert largest(logits - donor.logits) > 0.01 * largest(donor.logits)


@pytest.mark.usefixtures("nothing_refused")
def test_phi3small_sees_later_tokens() -> None:
    model = wrap("phi3small", build_network("phi3small"))
    whole = tapped(model, [ROWS[0]]).streams[-1, 0, 0]
    begun = tapped(model, [ROWS[0][:3]]).streams[-1, 0, 0]
    assert largest(whole - begun) > 0.01 * largest(whole)
