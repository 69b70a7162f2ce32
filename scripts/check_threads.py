"""Whether several threads may compute, steer and generate at once, and whether the process ends well afterwards.

    python scripts/check_threads.py                      # 30 processes of each kind; about ten minutes on two cores
    python scripts/check_threads.py --runs 3             # fewer
    python scripts/check_threads.py --json               # one JSON object of figures on stdout

Each kind of process is first run once with everything one after the other on the main thread, then ``--runs`` times
with threads, under a fixed number of BLAS threads and a fixed ``CAA_MEMORY``. A run passes where its digests and texts
are the same, everything that is replaced in the process is back, and the exit code is 0:

- two models: two threads, each computing vectors on a model of its own.
- eight threads: four ask for vectors and four for steered text, on two models, all at once.

And once each: 50 computations from 50 threads, which must leave as many threads of the system as the first; an
interrupted and a failing computation, after which the same computation must give the same digest.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

KINDS = ("two models", "eight threads")
PAIRS = 24
COMPUTATIONS = 50
FIXED = {"OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "CAA_MEMORY": "1GB"}

Job = Callable[[], Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30, help="processes of each kind (default: 30)")
    parser.add_argument("--json", action="store_true", help="print one JSON object of figures on stdout")
    parser.add_argument("--child", nargs=2, metavar=("WORK", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        work, folder = options.child
        print(json.dumps(_child(work, Path(folder))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return _report(_measured(options.runs, Path(folder)), as_json=options.json)


def _measured(runs: int, folder: Path) -> dict[str, Any]:
    second_model(folder / "second-model")
    figures: dict[str, Any] = {}
    for kind in KINDS:
        alone = _run(f"{kind} in turn", folder)
        together = [_run(kind, folder) for _ in range(runs)]
        figures[kind] = {
            "runs": runs,
            "exit 0": sum(run["exit"] == 0 for run in together),
            "same results": sum(run.get("results") == alone["results"] for run in together),
            "restored": sum(run.get("restored", False) for run in together),
        }
    figures["threads of the system"] = _run("many", folder)
    figures["after an interruption and a failure"] = _run("broken", folder)
    return figures


def _run(work: str, folder: Path) -> dict[str, Any]:
    """What a fresh process says, and its exit code."""
    with tempfile.TemporaryDirectory(dir=folder) as home:
        done = subprocess.run(
            [sys.executable, __file__, "--child", work, home],
            env={**os.environ, **FIXED, "CAA_HOME": home, "CAA_REGISTRY": str(Path(home) / "registry.db")},
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        said = {}
    if done.returncode != 0 or not said:
        print(done.stderr, file=sys.stderr)
    return {**said, "exit": done.returncode}


def _report(figures: Mapping[str, Mapping[str, Any]], *, as_json: bool) -> int:
    passed = True
    lines: list[Sequence[str]] = [("threads", "runs", "exit 0", "same results", "restored")]
    for kind in KINDS:
        values = figures[kind]
        passed &= all(values[name] == values["runs"] for name in ("exit 0", "same results", "restored"))
        lines.append((kind, *(str(values[name]) for name in ("runs", "exit 0", "same results", "restored"))))
    many, broken = figures["threads of the system"], figures["after an interruption and a failure"]
    passed &= many["exit"] == broken["exit"] == 0
    passed &= many.get("last") == many.get("first") is not None
    passed &= broken.get("same", False) and broken.get("restored", False)
    if as_json:
        print(json.dumps({f"{kind}: {name}": value for kind, part in figures.items() for name, value in part.items()}))
    else:
        for line in lines:
            print("  ".join(text.ljust(width) for text, width in zip(line, (14, 5, 7, 13, 8), strict=True)))
        print(f"threads of the system after 1 computation {many.get('first')}, after {COMPUTATIONS} {many.get('last')}")
        print(f"the same digest after an interrupted and a failing computation: {broken.get('same', False)}")
    return 0 if passed else 1


def second_model(folder: Path) -> None:
    """Write the demo model with other weights into ``folder``."""
    from safetensors.numpy import load_file, save_file

    from caa_registry.models.loading import demo_model_folder

    shutil.copytree(demo_model_folder(), folder)
    weights = load_file(folder / "model.safetensors")
    save_file({name: value * 1.01 for name, value in weights.items()}, folder / "model.safetensors", {"format": "mlx"})


def _child(work: str, home: Path) -> dict[str, Any]:
    import caa_registry as caa

    with caa.open() as registry:
        models = {"demo": registry.models.load("demo"), "second": registry.models.load(home.parent / "second-model")}
        for number in range(4):
            registry.datasets.import_(_pairs(home, number), name=f"pairs-{number}", split="generate")
        vector = registry.vectors.compute("steering", dataset="pairs-0", model=models["demo"])

        def compute(name: str, number: int, model: str, **options: Any) -> str:
            version = registry.vectors.compute(name, dataset=f"pairs-{number}", model=models[model], **options)
            return str(version.digest)

        def generate(multiplier: float) -> str:
            with registry.steer(models["demo"], vector, layer=2, multiplier=multiplier):
                steered = models["demo"].generate("Is it good?", max_tokens=20, temperature=0.7, seed=1)
                pieces = "".join(models["demo"].stream_text("What do you think?", max_tokens=20))
            return f"{steered} | {pieces} | {models['demo'].generate('Is it good?', max_tokens=20)}"

        if work == "many":
            return _many(lambda i: compute(f"many-{i}", i % 4, ("demo", "second")[i % 2], force=True))
        if work == "broken":
            return _broken(compute, models.values())
        jobs: dict[str, Job] = {"demo": lambda: compute("a", 1, "demo"), "second": lambda: compute("b", 1, "second")}
        if work.startswith("eight"):
            jobs |= {"demo 2": lambda: compute("c", 2, "demo"), "second 2": lambda: compute("d", 2, "second")}
            jobs |= {f"text {m}": lambda m=m: generate(m) for m in (-6.0, -2.0, 2.0, 6.0)}  # type: ignore[misc]
        before = _replaced()
        in_turn = work.endswith("in turn")
        results = {name: job() for name, job in jobs.items()} if in_turn else _together(jobs)
        return {"results": results, "restored": _replaced() == before and _untouched(models.values())}


def _pairs(home: Path, number: int) -> str:
    """A file of pairs that no other ``number`` has."""
    rows = [
        {
            "prompt": f"{number}.{i}: is it {'good' if i % 2 else 'bad'}?{' And now?' * (i % 5)}\n (A) Yes\n (B) No",
            "positive": "(A)" if i % 2 else "(B)",
            "negative": "(B)" if i % 2 else "(A)",
        }
        for i in range(PAIRS)
    ]
    path = home / f"pairs-{number}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def _together(jobs: Mapping[str, Job]) -> dict[str, Any]:
    """The results of ``jobs``, each on a thread of its own, begun at the same time."""
    results: dict[str, Any] = {}
    begin = threading.Barrier(len(jobs))

    def work(name: str, job: Job) -> None:
        begin.wait()
        results[name] = job()

    threads = [threading.Thread(target=work, args=item) for item in jobs.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {name: results.get(name) for name in jobs}


def _many(compute: Callable[[int], str]) -> dict[str, Any]:
    counts: list[int] = []
    for i in range(COMPUTATIONS):
        thread = threading.Thread(target=compute, args=(i,))
        thread.start()
        thread.join()
        counts.append(system_threads(thread))
    return {"first": counts[0], "last": counts[-1]}


def system_threads(ended: threading.Thread) -> int:
    """How many threads the process has, once the one that ``ended`` is gone: Python says so a moment too early."""
    import psutil

    while Path(f"/proc/self/task/{ended.native_id}").exists():
        pass
    return int(psutil.Process().num_threads())


def _broken(compute: Callable[..., str], models: Any) -> dict[str, Any]:
    wanted = compute("v", 1, "demo")
    before = _replaced()
    for error in (KeyboardInterrupt, OSError):

        def stop(done: int, total: int, error: type[BaseException] = error) -> None:
            if done > 2:
                raise error

        def interrupted(stop: Any = stop, error: type[BaseException] = error) -> None:
            try:
                compute("v", 1, "demo", force=True, progress=stop)
            except error:
                return
            raise AssertionError("nothing was interrupted")

        _together({"interrupted": interrupted})
        interrupted()
    same = compute("v", 1, "demo", force=True) == wanted
    return {"same": same, "restored": _replaced() == before and _untouched(models)}


def _replaced() -> list[Any]:
    """What computations replace in the process."""
    import mlx.core as mx
    import mlx.nn as nn

    import caa_registry.blas as blas

    traced: list[int] = []

    @mx.compile
    def counted(x: mx.array) -> mx.array:
        traced.append(1)
        return x + 1

    mx.eval(counted(mx.array(1.0)), counted(mx.array(2.0)))
    so_far = len(traced)
    mx.eval(counted(mx.array(3.0)))
    compiles = len(traced) == so_far
    return [nn.silu, nn.gelu_approx, mx.fast.scaled_dot_product_attention, blas.threads(), compiles]


def _untouched(models: Any) -> bool:
    """Whether no tap is left in a network."""
    return not any(
        model.stream.tapped_now or hasattr(type(block), "_caa_base")
        for model in models
        for block in model.stream.blocks
    )


if __name__ == "__main__":
    sys.exit(main())
