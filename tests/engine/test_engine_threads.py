"""Several threads compute, steer and generate at once: the same numbers and texts, and processes that end well.

``scripts/check_threads.py`` does the same at length, with a registry.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import psutil
import pytest
from support.computed import mean_difference
from support.tiny_models import CHAT, TinyModels

import caa_registry.blas as blas
from caa_registry.engine.kernels import fast_kernels
from caa_registry.engine.reading import PairTokens
from caa_registry.errors import UsageError
from caa_registry.extraction.reading import encode_pairs
from caa_registry.models.model import Model
from caa_registry.mx_thread import run
from caa_registry.pairs.record import Pair
from caa_registry.steering.additions import Addition, steering

PROMPT = "Is the sky blue?"
LETTERS = [Pair(f"Is it {i}?" + " And now?" * (i % 4), "(A)", "(B)") for i in range(20)]
Job = Callable[[], Any]


@pytest.fixture
def models(tiny: TinyModels) -> list[Model]:
    return [tiny("llama", chat=CHAT), tiny("qwen2", chat=CHAT)]


def tokens_for(model: Model, count: int = len(LETTERS)) -> list[PairTokens]:
    return encode_pairs(LETTERS[:count], model.template(), model)[0]


def vectors(model: Model, **options: Any) -> bytes:
    found = mean_difference(model, tokens_for(model), range(model.n_layers), "last", **options)
    return b"".join(vector.values.tobytes() for vector in found.layers)


def steered(model: Model, multiplier: float) -> str:
    vector = np.random.default_rng(0).standard_normal(model.d_model).astype(np.float32)
    with steering(model, [Addition(1, vector, multiplier)]):
        text = model.generate(PROMPT, max_tokens=8, temperature=1.0, seed=2)
        pieces = list(model.stream_text(PROMPT, max_tokens=8, temperature=1.0, seed=3))
        probabilities = [token.probability for token in model.next_tokens(PROMPT)]
    return repr([text, pieces, probabilities, model.generate(PROMPT, max_tokens=8)])


def together(jobs: list[Job]) -> list[Any]:
    begin = threading.Barrier(len(jobs))

    def work(job: Job) -> Any:
        begin.wait()
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(work, jobs))


def replaced() -> list[Any]:
    return [nn.silu, nn.gelu_approx, mx.fast.scaled_dot_product_attention, blas.threads()]


def test_eight_threads_get_what_one_after_the_other_gets(models: list[Model]) -> None:
    jobs: list[Job] = [lambda model=model: vectors(model) for model in models * 2]  # type: ignore[misc]
    jobs += [lambda m=m, model=models[0]: steered(model, m) for m in (-30.0, -8.0, 8.0, 30.0)]  # type: ignore[misc]
    before, in_turn = replaced(), [job() for job in jobs]
    assert len(set(in_turn)) == 6
    for _ in range(3):
        assert together(jobs) == in_turn
        assert replaced() == before
        assert not any(hasattr(type(block), "_caa_base") for model in models for block in model.stream.blocks)


def test_a_steering_context_is_its_threads_alone(models: list[Model]) -> None:
    model = models[0]
    vector = np.random.default_rng(0).standard_normal(model.d_model).astype(np.float32)
    wanted = {m: model.next_tokens(PROMPT) for m in (0.0,)}
    for multiplier in (-30.0, 30.0):
        with steering(model, [Addition(1, vector, multiplier)]):
            wanted[multiplier] = model.next_tokens(PROMPT)
    assert len({str(tokens) for tokens in wanted.values()}) == 3
    opened, asked = threading.Barrier(3), threading.Barrier(3)

    def ask(multiplier: float) -> Any:
        if not multiplier:
            opened.wait()
            found = model.next_tokens(PROMPT), vectors(model)
            asked.wait()
            return found[0]
        with steering(model, [Addition(1, vector, multiplier)]):
            opened.wait()
            found = model.next_tokens(PROMPT)
            asked.wait()
            assert model.stream.tapped_now
            return found

    with ThreadPoolExecutor(3) as pool:
        assert dict(zip(wanted, pool.map(ask, wanted), strict=True)) == wanted
    assert not model.stream.tapped_now
    assert not hasattr(type(model.network.layers[0]), "_caa_base")


def test_a_context_left_on_another_thread_is_left(models: list[Model]) -> None:
    model = models[0]
    plain = model.next_tokens(PROMPT)
    vector = np.full(model.d_model, 30.0, dtype=np.float32)
    context = steering(model, [Addition(1, vector)])
    context.__enter__()
    assert model.next_tokens(PROMPT) != plain
    with ThreadPoolExecutor(1) as pool:
        pool.submit(context.__exit__, None, None, None).result()
    assert not model.stream.tapped_now
    assert model.next_tokens(PROMPT) == plain


def test_contexts_that_overlap_leave_nothing_replaced() -> None:
    """A in, B in, A out, B out: what is replaced in the process is back, and not before."""
    before = replaced()
    steps = {name: threading.Event() for name in ("a in", "b in", "a out")}

    def first() -> None:
        with fast_kernels(), blas.shared(2):
            steps["a in"].set()
            steps["b in"].wait()
        steps["a out"].set()

    def second() -> list[Any]:
        steps["a in"].wait()
        with fast_kernels(), blas.shared(2):
            steps["b in"].set()
            steps["a out"].wait()
            return replaced()

    with ThreadPoolExecutor(2) as pool:
        ended, while_second = pool.submit(first), pool.submit(second)
        ended.result()
        meanwhile = while_second.result()
    assert replaced() == before
    if sys.platform == "linux":
        assert meanwhile[:3] != before[:3]
    assert meanwhile[3] == before[3]  # what is to be used again, not what a computation has of it


def test_a_product_has_its_share_of_the_threads() -> None:
    alone = blas.threads_each()
    with blas.shared(2) as among:
        assert blas.threads_each() == max(1, alone // 2)
        among(1)
        assert blas.threads_each() == alone
    assert blas.threads_each() == alone == blas.threads()


def test_computations_from_many_threads_leave_as_many_threads_as_one(models: list[Model]) -> None:
    counts = []
    for _ in range(6):
        thread = threading.Thread(target=lambda: [vectors(models[0]), steered(models[0], 1.0)])
        thread.start()
        thread.join()
        # Python says a moment too early that it has ended.
        while Path(f"/proc/self/task/{thread.native_id}").exists():
            pass
        counts.append(psutil.Process().num_threads())
    assert counts == [counts[0]] * 6


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_or_failing_computation_leaves_the_engine_usable(
    models: list[Model], error: type[BaseException]
) -> None:
    wanted, before = vectors(models[0]), replaced()

    def stop(done: int, total: int) -> None:
        if done > 0:
            raise error

    def interrupted() -> None:
        with pytest.raises(error):
            vectors(models[0], progress=stop)

    interrupted()
    together([interrupted, interrupted])
    assert replaced() == before and not models[0].stream.tapped_now
    assert vectors(models[0]) == wanted


def test_progress_is_told_to_the_thread_that_asks(models: list[Model]) -> None:
    threads: set[int] = set()
    vectors(models[0], progress=lambda done, total: threads.add(threading.get_ident()))
    assert threads == {threading.get_ident()} != {run(threading.get_ident)}


PRELUDE = """
import sys, threading
import numpy as np
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from caa_registry.models.loading import load
from caa_registry.mx_thread import check, run
from caa_registry.steering.additions import Addition, steering
model = load("demo")
vector = np.ones(model.d_model, np.float32)
def compute():
    with steering(model, [Addition(1, vector, 0.1)]):
        model.generate("Is it good?", max_tokens=12, temperature=1.0)
    print("computed", flush=True)
"""
ENDS = {
    "joined": ("thread = threading.Thread(target=compute); thread.start(); thread.join()", 0),
    "not joined": ("threading.Thread(target=compute).start()", 0),
    "an executor left open": ("pool = ThreadPoolExecutor(2); pool.submit(compute)", 0),
    "an exception": ("threading.Thread(target=compute).start(); raise OSError('no more')", 1),
    "an exit inside a context": (
        "compute()\nwith steering(model, [Addition(1, vector)]):\n    next(model.stream_text('Is it?')); sys.exit(3)",
        3,
    ),
    "a busy daemon": (
        "compute()\ndef forever():\n    busy.set()\n    while True: check()\nbusy = threading.Event()\n"
        "threading.Thread(target=run, args=(forever,), daemon=True).start(); busy.wait()",
        0,
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_process_ends_well(end: str) -> None:
    program, code = ENDS[end]
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code, done.stderr
    assert done.stdout == "computed\n"
    assert "terminate called" not in done.stderr


def test_an_interrupted_command_exits_with_130() -> None:
    program = """
import os, signal, sys
from caa_registry import mx_thread
from caa_registry.cli.main import main
check = mx_thread.check
def interrupted():
    os.kill(os.getpid(), signal.SIGINT)
    while True:
        check()
mx_thread.check = interrupted
sys.argv = ["caa", "generate", "--model", "demo", "Is it good?"]
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 130, done.stderr
    assert "Interrupted" in done.stderr


def test_who_asks_while_the_model_is_steered_is_told(models: list[Model]) -> None:
    """A thread's own steering is refused where unsteered numbers are asked for; another's is nothing to it."""
    from caa_registry.evaluation.open_ended.perplexity import Continuation, mean_log_probabilities

    text = [Continuation((5, 6), (7, 8))]
    with steering(models[0], [Addition(1, np.ones(models[0].d_model, np.float32))]):
        with pytest.raises(UsageError, match="is steered"):
            mean_log_probabilities(models[0], text)
        with ThreadPoolExecutor(1) as pool:
            elsewhere = pool.submit(mean_log_probabilities, models[0], text).result()
    assert elsewhere == mean_log_probabilities(models[0], text)
