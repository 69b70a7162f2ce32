"""Evaluations keep to the memory that they may use, and give the same in less."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np
import pytest

from caa_registry.engine import likelihoods, runs, sweeps, texts
from caa_registry.engine.logits import Answer
from caa_registry.engine.plan import Group
from caa_registry.engine.schedule import workers

if TYPE_CHECKING:
    from support.tiny_models import TinyModels

    from caa_registry.engine.steps import Worked
    from caa_registry.models.model import Model

MULTIPLIERS = [0.5 * n for n in range(1, 9)]


@pytest.fixture
def allow(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def allowed(memory: int) -> None:
        for module in (runs, likelihoods):
            monkeypatch.setattr(module, "allowed_memory", lambda: memory)

    return allowed


def peak(work: Callable[[], None]) -> int:
    """The bytes that MLX held at most above what it held before."""
    mx.clear_cache()
    before = mx.get_active_memory()
    highest = 0
    reset = mx.reset_peak_memory

    def told() -> None:
        nonlocal highest
        highest = max(highest, mx.get_peak_memory())
        reset()

    reset()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mx, "reset_peak_memory", told)  # runs resets it too
        work()
    told()
    return highest - before


def sweep(model: Model, parts: dict[object, np.ndarray], *, doses: bool = False) -> None:
    draw = np.random.default_rng(0)
    answers = [Answer(tuple(draw.integers(3, 400, 80).tolist()), 40, 79, (5, 9), either=True) for _ in range(6)]
    vectors = {layer: draw.standard_normal((1, model.d_model)).astype(np.float32) for layer in range(model.n_layers)}

    def give(of_arms: sweeps.Parts) -> None:
        (part,) = of_arms
        for question, values in zip(part.questions, part.log_p, strict=True):
            parts[part.layer, question] = values
        for question, values in zip(part.questions, () if part.kl is None else part.kl, strict=doses):
            parts["kl", part.layer, question] = values

    arm = sweeps.Arm(vectors, MULTIPLIERS, doses)
    sweeps.run_steered(sweeps.Sweep(model, answers, 1, [arm], "after_prompt"), give)


def dosed(model: Model, parts: dict[object, np.ndarray]) -> None:
    sweep(model, parts, doses=True)


def passages(model: Model, parts: dict[object, np.ndarray]) -> None:
    draw = np.random.default_rng(0)
    ids = [tuple(draw.integers(3, 400, 80).tolist()) for _ in range(4)]
    vectors = {layer: draw.standard_normal(model.d_model).astype(np.float32) for layer in range(model.n_layers)}

    def give(part: texts.Part) -> None:
        parts[part.layer, part.text] = np.stack([part.kl, part.log_p])

    texts.run_entered(texts.Work(model, ids, vectors, MULTIPLIERS), give)


@pytest.mark.parametrize("work", [sweep, dosed, passages])
def test_a_third_of_the_memory_gives_the_same(
    work: Callable[[Model, dict[object, np.ndarray]], None], tiny: TinyModels, allow: Callable[[int], None]
) -> None:
    model = tiny("llama")
    freely: dict[object, np.ndarray] = {}
    closely: dict[object, np.ndarray] = {}
    allow(1 << 40)
    most = peak(lambda: work(model, freely))
    allow(most // 3)
    least = peak(lambda: work(model, closely))
    assert least <= most // 3
    assert freely.keys() == closely.keys()
    for place, values in freely.items():
        np.testing.assert_allclose(closely[place], values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("work", [sweep, dosed, passages])
def test_nothing_is_run_to_measure_memory_where_the_shapes_say_that_it_is_enough(
    work: Callable[[Model, dict[object, np.ndarray]], None],
    tiny: TinyModels,
    allow: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, groups, needed, run = tiny("llama"), set[Group](), list[int](), list[Group]()
    needs, base = runs.Runs._bytes, runs.Runs._base

    def told(self: runs.Runs[object, object], group: Group) -> int:
        groups.add(group)
        needed.append(needs(self, group))
        return needed[-1]

    def counted(self: runs.Runs[object, object], group: Group, *worked: Worked) -> runs.Base[object]:
        run.append(group)
        return base(self, group, *worked)

    monkeypatch.setattr(runs.Runs, "_bytes", told)
    monkeypatch.setattr(runs.Runs, "_base", counted)
    allow(1 << 40)
    taken = peak(lambda: work(model, {}))
    enough = workers() * max(needed)
    assert taken <= enough and sorted(run, key=str) == sorted(groups, key=str)
    run.clear()
    allow(enough)
    work(model, {})
    assert sorted(run, key=str) == sorted(groups, key=str)
    run.clear()
    allow(enough // 8)
    work(model, {})
    assert len(run) == len(set(run)) + 1
