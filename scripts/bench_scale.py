"""What the work costs on a model of the size that users have: this commit beside an earlier one.

    python scripts/bench_scale.py                        # both commits, 4-bit and bf16; half an hour on two cores
    python scripts/bench_scale.py --quick                # 2 of the 16 layers, smaller counts, 4-bit only
    python scripts/bench_scale.py --before COMMIT        # the commit to compare with (default: the one named here)
    python scripts/bench_scale.py --json                 # one flat JSON object of figures on stdout

The model is a random llama of the 1B shape: 16 layers of width 2,048, vocabulary 128,256. The script writes its weights
(at most 2.5 GB on disk at a time) and deletes them in the end. Each commit has a process of its own, with a tree of its
own, which waits while the other is timed; they take turns and run equally often. Each piece of work is done by the
registry's own methods:

- compute: a vector of all layers from pairs;
- sweep: propensity at several layers and multipliers, without controls, then with some;
- side effects: KL divergence and perplexity of passages at several layers and multipliers;
- open-ended: answers to questions at several multipliers;
- generate: one answer, steered.

Time is the least of all turns, with the ratios of single turns beside it; peak memory is MLX's above the weights, the
most of all turns. Before a figure is printed, both commits' results are compared: scores must agree to 1e-5 and the
greedy answers must be the same, else the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bench_peers import Worker, serve
from rich.console import Console
from rich.table import Column, Table

ROOT = Path(__file__).resolve().parents[1]
BEFORE = "e0e90f6"
SHAPE = {"hidden": 2048, "layers": 16, "ffn": 8192, "heads": 32, "key_heads": 8, "vocabulary": 128_256}
TOLERANCE = 1e-5
PASSAGE = (
    "The town lies where two rivers meet. In spring the lower streets stand under water, and people go to market in "
    "flat boats. Nobody minds: the mud that the rivers leave behind makes the gardens green until late in the year, "
    "and the old bridge, which has seen higher floods than these, carries the road to the hills as it always has."
)


@dataclass(frozen=True)
class Counts:
    """How much of each kind of work is done."""

    pairs: int
    questions: int
    layers: Sequence[int]
    multipliers: Sequence[float]
    draws: int
    passages: int
    answers: int
    tokens: int
    turns: int


FULL = Counts(8, 4, (3, 7, 11, 14), (-1.0, 0.0, 1.0), 19, 2, 4, 24, 3)
QUICK = Counts(2, 2, (0, 1), (-1.0, 0.0, 1.0), 19, 1, 2, 6, 1)


class Work:
    """One commit's process: a model, and what is done with it."""

    def load(self, folder: str, counts: dict[str, Any]) -> dict[str, Any]:
        from caa_registry.models.loading import load
        from caa_registry.mx import mx

        self.counts = Counts(**counts)
        start = time.perf_counter()
        self.model = load(folder)
        mx.eval(self.model.network.parameters())
        seconds = time.perf_counter() - start
        mx.clear_cache()
        return {"seconds": seconds, "gb": mx.get_active_memory() / 1e9, "dtype": self.model.dtype}

    def run(self, work: str) -> dict[str, Any]:
        """Seconds, MLX's peak above the weights in GB, and the result of one piece of work."""
        from caa_registry.mx import mx

        if work == "compute":
            self.begin_turn()
        mx.clear_cache()
        mx.reset_peak_memory()
        active = mx.get_active_memory()
        start = time.perf_counter()
        result = getattr(self, work)()
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "gb": (mx.get_peak_memory() - active) / 1e9, "result": result}

    def begin_turn(self) -> None:
        """Make a registry with pairs, for all work of a turn: nothing is kept from one turn to the next."""
        import caa_registry

        folder = Path(tempfile.mkdtemp(dir=os.environ["CAA_BENCH_FOLDER"]))
        os.environ["CAA_HOME"] = str(folder)
        self.registry = caa_registry.open(str(folder / "registry.db"), create=True)
        self.text, sources = write_data(folder, self.counts)
        self.data = self.registry.datasets.import_(sources, name="scale")

    def compute(self) -> list[float]:
        self.vector = self.registry.vectors.compute("scale", dataset=self.data, model=self.model)
        stored = self.registry.vectors.load(self.vector)
        return [float(abs(layer.values).max()) for layer in stored.layers]

    def sweep(self) -> list[float]:
        return self._propensity()

    def controls(self) -> list[float]:
        return self._propensity("isotropic")

    def _propensity(self, *controls: str) -> list[float]:
        from caa_registry import PropensitySettings

        asked: dict[str, Any] = {"controls": controls, "draws": self.counts.draws}
        if "draws" not in {field.name for field in fields(PropensitySettings)}:
            # The commit to compare with is from before isotropic directions had that name.
            asked = {"controls": ["random"] * len(controls), "seeds": self.counts.draws}
        settings = PropensitySettings(**asked)
        evaluation = self.registry.evaluations.propensity(
            self.vector,
            model=self.model,
            layers=self.counts.layers,
            multipliers=self.counts.multipliers,
            settings=settings,
        )
        # What each commit makes of the answers differs, and so do its controls; what the model answers does not.
        return [
            score.value
            for score in evaluation.scores
            if score.condition == "vector" and score.metric in ("propensity", "mass")
        ]

    def side_effects(self) -> list[float]:
        evaluation = self.registry.evaluations.side_effects(
            self.vector,
            model=self.model,
            text=str(self.text),
            layers=self.counts.layers,
            multipliers=self.counts.multipliers,
        )
        return [score.value if score.metric == "kl" else math.log(score.value) for score in evaluation.scores]

    def answers(self) -> list[str]:
        from caa_registry import OpenEndedSettings

        evaluation = self.registry.evaluations.open_ended(
            self.vector,
            dataset=self.data,
            model=self.model,
            layers=self.counts.layers[1:2],
            multipliers=self.counts.multipliers,
            settings=OpenEndedSettings(max_tokens=self.counts.tokens, limit=self.counts.answers),
        )
        answers = self.registry.evaluations.answers(evaluation)
        return sorted(json.dumps([answer.question, answer.multiplier, answer.text]) for answer in answers)

    def generate(self) -> list[str]:
        with self.registry.steer(self.model, self.vector, layer=self.counts.layers[1], multiplier=1.0):
            return [self.model.generate(PASSAGE, max_tokens=self.counts.tokens)]


WORK = {
    "compute": "compute",
    "sweep": "sweep",
    "controls": "sweep with controls",
    "side_effects": "side effects",
    "answers": "open-ended",
    "generate": "generate",
}


def write_data(folder: Path, counts: Counts) -> tuple[Path, dict[str, str]]:
    """A file of passages, and one of pairs for each split."""
    from bench_model import find_pairs

    passages = [f"{number}. {PASSAGE}" for number in range(1, counts.passages + 1)]
    text = folder / "passages.txt"
    text.write_text("\n\n".join(passages) + "\n", encoding="utf-8")
    pairs = find_pairs()[1][: counts.pairs + counts.questions]
    sources = {}
    for split, part in (("generate", pairs[: counts.pairs]), ("test", pairs[counts.pairs :])):
        path = folder / f"{split}.jsonl"
        rows = [{"prompt": pair.prompt, "positive": pair.positive, "negative": pair.negative} for pair in part]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        sources[split] = str(path)
    return text, sources


def write_model(folder: Path, bits: int | None, layers: int) -> None:
    """A random llama, bf16 or quantized to so many bits. Its tokenizer knows fewer tokens than its head has rows."""
    from bench_model import find_pairs, write_tokenizer
    from mlx_lm.models import llama

    from caa_registry.mx import mx, nn, tree_flatten

    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": SHAPE["hidden"],
        "num_hidden_layers": layers,
        "intermediate_size": SHAPE["ffn"],
        "num_attention_heads": SHAPE["heads"],
        "num_key_value_heads": SHAPE["key_heads"],
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "max_position_embeddings": 8192,
        "vocab_size": SHAPE["vocabulary"],
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    folder.mkdir(parents=True)
    mx.random.seed(0)
    network = llama.Model(llama.ModelArgs.from_dict(config))
    network.set_dtype(mx.bfloat16)
    if bits is not None:
        nn.quantize(network, group_size=64, bits=bits)
        config["quantization"] = {"group_size": 64, "bits": bits}
    weights = dict(tree_flatten(network.parameters()))
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    write_tokenizer(folder, 4096, find_pairs()[1])


def tree_of(commit: str, folder: Path, stack: ExitStack) -> Path:
    """The files of a commit, in a folder that goes when the stack closes."""
    subprocess.run(["git", "worktree", "add", "--detach", "--quiet", str(folder), commit], cwd=ROOT, check=True)
    stack.callback(subprocess.run, ["git", "worktree", "remove", "--force", str(folder)], cwd=ROOT, check=False)
    return folder


def different(before: Sequence[Any], after: Sequence[Any]) -> bool:
    if len(before) != len(after):
        return True
    if before and isinstance(before[0], str):
        return list(before) != list(after)
    return any(abs(a - b) > TOLERANCE * max(1.0, abs(b)) for a, b in zip(after, before, strict=True))


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare two commits on a model of a billion parameters.")
    parser.add_argument("--before", default=BEFORE, metavar="COMMIT", help=f"the earlier commit (default {BEFORE})")
    parser.add_argument("--kind", action="append", choices=["4", "bf16"], help="only this kind of weights")
    parser.add_argument("--turns", type=int, help="how often each commit does each work (default 3; quick 1)")
    parser.add_argument("--work", action="append", choices=[*WORK], help="only this work (compute always runs)")
    parser.add_argument("--quick", action="store_true", help="few layers, few counts, 4-bit only")
    parser.add_argument("--json", action="store_true", help="figures as one flat JSON object on stdout")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def measure(
    workers: dict[str, Worker], works: Sequence[str], turns: int, say: Callable[[str], None]
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """What every commit answers of every work, turn by turn; who goes first changes with each turn."""
    answers: dict[str, dict[str, list[dict[str, Any]]]] = {work: {name: [] for name in workers} for work in works}
    for turn in range(turns):
        names = list(workers)[:: 1 if turn % 2 == 0 else -1]
        for work in works:
            for name in names:
                answers[work][name].append(workers[name].ask("run", work=work))
                say(f"turn {turn + 1}, {WORK[work]}, {name}: {answers[work][name][-1]['seconds']:.1f} s")
    return answers


def main() -> int:
    options = parse()
    if options.serve:
        work = Work()
        serve({"load": work.load, "run": work.run})
        return 0
    if options.write:
        folder, bits, layers = options.write
        write_model(Path(folder), None if bits == "bf16" else int(bits), int(layers))
        return 0
    console = Console(stderr=options.json)
    counts = QUICK if options.quick else FULL
    works = [work for work in WORK if not options.work or work in ("compute", *options.work)]
    figures: dict[str, float] = {}
    for kind in options.kind or (["4"] if options.quick else ["4", "bf16"]):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            model = folder / "model"
            layers = len(QUICK.layers) if options.quick else SHAPE["layers"]
            subprocess.run([sys.executable, __file__, "--write", str(model), kind, str(layers)], check=True)
            trees = {"before": tree_of(options.before, folder / "before", stack), "now": ROOT}
            workers = {}
            for name, tree in trees.items():
                environment = {
                    "PYTHONPATH": str(tree),
                    "CAA_BENCH_FOLDER": str(folder),
                    "CAA_ACTIVATION_CACHE": "0",
                }
                workers[name] = Worker([sys.executable, __file__, "--serve"], environment)
                stack.callback(workers[name].close)
                loaded = workers[name].ask("load", folder=str(model), counts=asdict(counts))
                console.print(f"{kind}, {name}: loaded {loaded['gb']:.1f} GB as {loaded['dtype']}")
            answers = measure(workers, works, options.turns or counts.turns, console.print)
        title = "bf16" if kind == "bf16" else f"{kind}-bit"
        name, spread = Column("work", no_wrap=True), Column("turns", min_width=len("0.00-0.00"))
        table = Table(name, "before", "now", "ratio", spread, "GB\nbefore", "GB\nnow", title=title)
        for work in works:
            before, now = answers[work]["before"], answers[work]["now"]
            if any(different(before[0]["result"], answer["result"]) for answer in [*before, *now]):
                print(f"{title}, {WORK[work]}: the commits' results differ", file=sys.stderr)
                return 1
            turns = [b["seconds"] / n["seconds"] for b, n in zip(before, now, strict=True)]
            seconds = [min(answer["seconds"] for answer in each) for each in (before, now)]
            peaks = [max(answer["gb"] for answer in each) for each in (before, now)]
            table.add_row(
                WORK[work],
                *(f"{each:.1f} s" for each in seconds),
                f"{seconds[0] / seconds[1]:.2f}x",
                f"{min(turns):.2f}-{max(turns):.2f}",
                *(f"{each:.3f}" for each in peaks),
            )
            for commit, second, peak in zip(("before", "now"), seconds, peaks, strict=True):
                figures[f"{kind}_{work}_{commit}_seconds"], figures[f"{kind}_{work}_{commit}_gb"] = second, peak
            figures[f"{kind}_{work}_ratio"] = seconds[0] / seconds[1]
            figures[f"{kind}_{work}_ratio_low"], figures[f"{kind}_{work}_ratio_high"] = min(turns), max(turns)
        console.print(table)
    if options.json:
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
