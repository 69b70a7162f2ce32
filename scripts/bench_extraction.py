"""How long the mean-difference vectors of all layers take: this package beside the ways that one would use otherwise.

    python scripts/bench_extraction.py                   # everything; about twenty minutes on two idle cores
    python scripts/bench_extraction.py --quick           # a small model and few pairs, within a minute
    python scripts/bench_extraction.py --json            # one flat JSON object of figures on stdout

Each way starts from the same texts, tokenizes them, reads the residual stream at the answer's letter and ends with one
mean difference a layer, in float32 on the same weights (a random llama of 97 million parameters, and tinytalk-3m-chat
where it is there) and the same cores:

- plain: the tutorial's loop in MLX, one text at a time, all logits evaluated, written in bench_model.py and independent
  of the package; on the BLAS that the package loads, and (on fewer pairs, scaled by their tokens) as MLX installs;
- steering-vectors and repeng from PyPI on torch, each at the batch size that is best for it here. They run in an
  environment of their own (--peers-env), which is made where it is not there;
- ours: ``read_pairs``.

A way has its own process, which waits while another is timed. The ways take turns, each first in its turn, and run
equally often; the best time of each counts. The peers are tried at every batch size beforehand, which does not count,
and the best two sizes are ways of their own; a quick run knows two sizes. The vectors of every run, the plain loop's
own among them, are compared with the plain loop's first: where one differs, no ratio is printed and the exit code is 1.

The share of the attainable is the work that cannot be left out (what both sides of a pair begin with once, and each
end: tokens times the parameters of the blocks, times 2) at the speed of MLX's matrix product, measured beside ours,
over the time that ours takes. Attention itself is not counted.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from bench_peers import Way, Worker, found_or_made, python_of
from rich.console import Console
from rich.table import Column, Table

from caa_registry.settings import home

TOLERANCE = 1e-4
BATCHES = (1, 4, 8, 16, 32)
PEERS = ("steering-vectors", "repeng")
PLAIN, INSTALLED, OURS = "plain", "plain-as-installed", "ours"
TINYTALK = Path(__file__).resolve().parents[2] / "shared" / "models" / "tinytalk-3m-chat"
FULL = {"layers": 12, "hidden": 768, "ffn": 2048, "heads": 12, "vocabulary": 16000}
QUICK = {"layers": 4, "hidden": 256, "ffn": 688, "heads": 4, "vocabulary": 4000}
# Percent of the processor that others use at most while figures mean something.
BUSY = 10.0
# What MLX's own BLAS multiplies in a second on Linux: for choosing how many pairs it is given, and nothing else.
SLOW = 4e9

Say = Callable[[str], None]


class DisagreementError(Exception):
    """Ways that should give the same vectors do not."""


def difference(vector: Sequence[Sequence[float]], reference: Sequence[Sequence[float]]) -> float:
    """The largest difference of a layer, relative to the layer's largest value. Layers beyond the last are left out."""
    found, expected = np.asarray(vector), np.asarray(reference)[: len(vector)]
    return float((np.abs(found - expected).max(axis=1) / np.abs(expected).max(axis=1)).max())


def check_agreement(differences: Mapping[str, float]) -> None:
    """Raise ``DisagreementError`` where a way differs from the plain loop. What is not a number differs."""
    wrong = [f"{way} by {value:.1e}" for way, value in differences.items() if not value <= TOLERANCE]
    if wrong:
        raise DisagreementError(
            f"the vectors differ from the plain loop's by more than {TOLERANCE}: {', '.join(wrong)}"
        )


def spread(count: int, chosen: int) -> list[int]:
    """``chosen`` of ``count`` indexes at even distances: the pairs are in order of length, so these are as long."""
    chosen = max(1, min(count, chosen))
    return [(2 * i + 1) * count // (2 * chosen) for i in range(chosen)]


class Bench:
    """The processes, the options, and the figures so far."""

    def __init__(self, options: argparse.Namespace, peers: Mapping[str, str], say: Say, processes: ExitStack) -> None:
        self.options, self.say, self.processes = options, say, processes
        self.figures: dict[str, float | str] = {f"{_key(name)}_version": version for name, version in peers.items()}
        self.work = Path(processes.enter_context(tempfile.TemporaryDirectory()))
        self.ours = self._start(sys.executable, "bench_model.py", "ours")
        self.plain = self._start(sys.executable, "bench_model.py", "plain")
        self.installed = self._start(sys.executable, "bench_model.py", "plain", CAA_BLAS="none")
        self.peers = self._start(python_of(options.peers_env), "bench_peers.py") if peers else None

    def _start(self, python: str | Path, script: str, *arguments: str, **environment: str) -> Worker:
        worker = Worker([str(python), str(Path(__file__).with_name(script)), *arguments], environment)
        self.processes.callback(worker.close)
        return worker

    def measure(self, name: str, folder: Path, size: Mapping[str, int] | None) -> Table:
        """Every way on one model. Raises ``DisagreementError`` before anything of it becomes a figure."""
        plan = str(self.work / f"{name}.json")
        about = self.ours.ask("prepare", folder=str(folder), plan=plan, count=self.options.pairs, random=size)
        left_out = f", {about['too_long']} of the set are too long for it" if about["too_long"] else ""
        self.say(f"{name}: {len(about['tokens'])} pairs of {about['pairs_from']}{left_out}")
        ways = self._ways(about, plan)
        for way, done in ways.items():
            if len(done.batches) > 2:
                self.say(f"{name}: looking for the batch size of {way}")
                # Two go on, as one run is not enough to tell neighbours apart.
                done.batches = done.fastest(done.run())[:2]
        for turn in range(self.options.repeats):
            self.say(f"{name}: turn {turn + 1} of {self.options.repeats}")
            self._check_idle()
            for i in range(len(ways)):
                done = list(ways.values())[(i + turn) % len(ways)]
                done.answers += done.run()
        self.say(f"{name}: comparing the vectors")
        reference = ways[PLAIN].answers[0]["vector"]
        differences = {PLAIN: max(difference(answer["vector"], reference) for answer in ways[PLAIN].answers)}
        for way, done in ways.items():
            if way != PLAIN:
                same = done.pairs == ways[PLAIN].pairs
                expected = reference if same else self.plain.ask("read", pairs=done.pairs)["vector"]
                differences[way] = max(difference(answer["vector"], expected) for answer in done.answers)
        check_agreement(differences)
        return self._reported(name, about, ways, differences)

    def _check_idle(self) -> None:
        """Say it where others use the processor: torch's waiting threads lose far more by that than ours do."""
        time.sleep(0.5)  # the threads of the way before spin a little before they sleep
        busy = psutil.cpu_percent(interval=0.5)
        self.figures["busy_percent"] = max(busy, float(self.figures.get("busy_percent", 0.0)))
        if busy > BUSY:
            self.say(f"the machine is {busy:.0f} % busy with something else: do not quote these times")

    def _ways(self, about: Mapping[str, Any], plan: str) -> dict[str, Way]:
        """The ways that there are on this machine, warmed up, with what each is asked."""
        tokens: list[int] = about["tokens"]
        self.slow = about["blas"] is None and about["device"] == "cpu" and sys.platform == "linux"
        per_pair = 2 * about["parameters"] * sum(tokens) / len(tokens)
        few = spread(len(tokens), int((1 if self.options.quick else 40) * SLOW / per_pair))
        pairs = list(range(len(tokens)))
        self.plain.ask("load", plan=plan)
        ways = {PLAIN: Way(self.plain, "read", pairs)}
        if about["blas"] is not None:
            if self.installed.ask("load", plan=plan)["blas"] is None:
                ways[INSTALLED] = Way(self.installed, "read", few)
            else:
                self.say(f"{INSTALLED}: left out, a BLAS is loaded before this starts (LD_PRELOAD)")
        elif self.slow:
            self.say(
                f"No BLAS ({about['why_not']}): plain and ours run as MLX installs, on fewer pairs. {about['advice']}"
            )
            ways[PLAIN].pairs = pairs = few
        if self.peers is not None:
            self.figures["torch_threads"] = self.peers.ask("load", plan=plan)["threads"]
            batches = BATCHES[::2][:2] if self.options.quick else BATCHES
            ways |= {peer: Way(self.peers, peer, pairs, batches) for peer in PEERS}
        ways[OURS] = Way(self.ours, "read", pairs)
        for way in ways.values():
            way.run(few[:1])
        return ways

    def _reported(
        self, name: str, about: Mapping[str, Any], ways: Mapping[str, Way], differences: Mapping[str, float]
    ) -> Table:
        tokens, chosen = about["tokens"], ways[OURS]
        ours = chosen.best()["seconds"] * _scale(chosen, tokens)
        table = Table(Column("way", no_wrap=True), "pairs", "s a pair", "ours is faster", "differs by", title=name)
        for way, done in ways.items():
            scale, key = _scale(done, tokens), f"{name}_{_key(way)}"
            seconds = done.best()["seconds"] * scale
            self.figures |= {f"{key}_pairs": len(done.pairs), f"{key}_seconds_per_pair": seconds}
            if way != OURS:
                self.figures[f"{key}_over_ours"] = seconds / ours
            if way != PLAIN:
                self.figures[f"{key}_difference"] = differences[way]
            if done.batches:
                by_batch = {batch: seconds * scale for batch, seconds in done.by_batch().items()}
                self.figures |= {f"{key}_batch_{batch}_seconds_per_pair": each for batch, each in by_batch.items()}
                self.figures[f"{key}_best_batch"] = done.best()["batch"]
                said = ", ".join(f"{batch}: {by_batch[batch]:.4f}" for batch in sorted(by_batch))
                self.say(f"{name}: {way}, seconds a pair by batch size {said}")
            table.add_row(
                f"{way}, batch {done.best()['batch']}" if done.batches else way,
                str(len(done.pairs)),
                f"{seconds:.4f}",
                "" if way == OURS else f"{seconds / ours:.2f} times",
                "" if way == PLAIN else f"{differences[way]:.1e}",
            )
        needed = 2 * about["block_parameters"] * sum(about["needed_tokens"][i] for i in chosen.pairs) / 1e9
        speed = max(answer["gflops"] for answer in chosen.answers)
        seconds, encoding = chosen.best()["seconds"], chosen.best()["encoding"]
        share, share_of_reading = needed / speed / seconds, needed / speed / (seconds - encoding)
        self.figures |= {
            f"{name}_parameters": about["parameters"],
            f"{name}_tokens_per_pair": sum(tokens) / len(tokens),
            f"{name}_needed_tokens_per_pair": sum(about["needed_tokens"]) / len(tokens),
            f"{name}_ours_encoding_seconds_per_pair": encoding / len(chosen.pairs),
            f"{name}_needed_gflop_per_pair": needed / len(chosen.pairs),
            f"{name}_matrix_gflop_per_second": speed,
            f"{name}_attainable_share": share,
            f"{name}_attainable_share_without_encoding": share_of_reading,
        }
        self.figures |= {"pairs_from": about["pairs_from"], "blas": about["blas"] or "MLX's own"}
        table.caption = (
            f"{sum(tokens) / len(tokens):.0f} tokens a pair, {sum(about['needed_tokens']) / len(tokens):.0f} needed; "
            f"ours: {100 * share:.0f} % of the attainable "
            f"({100 * share_of_reading:.0f} % without encoding) at {speed:.0f} GFLOP/s"
        )
        return table

    def measure_memory(self, name: str, folder: Path) -> None:
        """What ours takes above the loaded model, in a process that did nothing before."""
        count = self.options.memory_pairs
        if self.slow:
            self.say("memory: left out, without a BLAS so many pairs take too long")
            return
        self.say(f"{name}: peak memory of ours for {count} pairs, all layers")
        found = self._start(sys.executable, "bench_model.py", "ours").ask("memory", folder=str(folder), count=count)
        self.figures |= {f"{name}_memory_pairs": count, **{f"{name}_peak_{key}": mb for key, mb in found.items()}}
        self.say(
            f"{name}: MLX {found['mlx_mb']:.0f} MB, the process {found['process_mb']:.0f} MB above the loaded model"
        )


def _key(way: str) -> str:
    return way.replace("-", "_")


def _scale(way: Way, tokens: Sequence[int]) -> float:
    """From the way's seconds to those for a pair of average length, by the tokens of the pairs it was given."""
    return sum(tokens) / sum(tokens[i] for i in way.pairs) / len(tokens)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare ways to compute mean-difference vectors of all layers.")
    parser.add_argument("--quick", action="store_true", help="a small model and few pairs, within a minute")
    parser.add_argument("--json", action="store_true", help="figures as one flat JSON object on stdout")
    parser.add_argument("--pairs", type=int, help="pairs to read (default 160; quick 24)")
    parser.add_argument("--repeats", type=int, help="times that each way is timed (default 3; quick 2)")
    parser.add_argument("--memory-pairs", type=int, help="pairs for the peak memory (default 1000; quick 100)")
    parser.add_argument(
        "--peers-env",
        type=Path,
        default=home() / "bench-peers",
        help="environment with the peers (default %(default)s)",
    )
    options = parser.parse_args(arguments)
    for name, full, quick in (("pairs", 160, 24), ("repeats", 3, 2), ("memory_pairs", 1000, 100)):
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else full)
        elif getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    options.peers_env = options.peers_env.expanduser().absolute()
    return options


def main() -> int:
    options = parse()
    console = Console(stderr=options.json)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    if options.quick:
        say("quick: 4 million parameters in place of 97, fewer pairs, repeats and batch sizes; no figure to quote")
    peers = found_or_made(options.peers_env, say, make=not options.quick)
    with ExitStack() as processes:
        try:
            bench = Bench(options, peers, say, processes)
            folder = bench.work / "random"
            console.print(bench.measure("random", folder, QUICK if options.quick else FULL))
            bench.measure_memory("random", folder)
            if TINYTALK.is_dir():
                console.print(bench.measure("tinytalk", TINYTALK, None))
            else:
                say("tinytalk-3m-chat: left out, it is not in ../shared/models beside the checkout")
        except (DisagreementError, RuntimeError) as error:
            print(error, file=sys.stderr)
            return 1
        if options.json:
            print(json.dumps(bench.figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
