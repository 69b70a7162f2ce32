"""What scripts/bench_extraction.py runs in an environment of its own: `steering-vectors` and `repeng` on torch.

Not to be started by hand. This file is also run by that environment's Python, so it needs nothing of this project. It
holds both ends of the line between the benchmark and its processes, one JSON object a line, as well.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

INSTALLED_IN_TURN = (("torch==2.13.0",), ("steering-vectors", "repeng"))
PACKAGES = ("torch", "steering-vectors", "repeng", "transformers")


class Worker:
    """A process that does one thing when asked. Between two requests it waits, so each has the machine to itself."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._name = " ".join(Path(part).name for part in command[1:])
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  (lives as long as the process)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, "TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1", **(environment or {})},
        )

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """The answer to one request. Raises ``RuntimeError`` with what the process said where it failed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        line = ""
        with contextlib.suppress(BrokenPipeError):  # where it ended, the log says why
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._log.seek(0)
            said = "\n".join(self._log.read().splitlines()[-15:])
            raise RuntimeError(f"{self._name} ended with {code} at {do!r}:\n{said}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()


@dataclass
class Way:
    """One way of reading: who does it, what it is asked, and what it said each time.

    ``batches`` are the batch sizes it is asked for one after the other; ours and the plain loop know none.
    """

    worker: Worker
    do: str
    pairs: list[int]
    batches: Sequence[int] = ()
    answers: list[dict[str, Any]] = field(default_factory=list)

    def run(self, pairs: list[int] | None = None) -> list[dict[str, Any]]:
        asked = [{"batch": batch} for batch in self.batches] or [{}]
        return [{**self.worker.ask(self.do, pairs=pairs or self.pairs, **more), **more} for more in asked]

    def best(self) -> dict[str, Any]:
        return min(self.answers, key=lambda answer: float(answer["seconds"]))

    @staticmethod
    def fastest(answers: Sequence[Mapping[str, Any]]) -> list[int]:
        """The batch sizes of ``answers``, the fastest first."""
        return [answer["batch"] for answer in sorted(answers, key=lambda answer: float(answer["seconds"]))]

    def by_batch(self) -> dict[int, float]:
        """Seconds at each batch size, the fastest first."""
        found: dict[int, float] = {}
        for answer in sorted(self.answers, key=lambda answer: float(answer["seconds"])):
            found.setdefault(answer["batch"], float(answer["seconds"]))
        return found


def serve(commands: Mapping[str, Callable[..., dict[str, Any]]]) -> None:
    """The other end: answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints stays out of the answers
    for line in sys.stdin:
        request = json.loads(line)
        answer = commands[request.pop("do")](**request)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def check_ids(tokenize: Callable[[str], Any], plan: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` unless every text of the plan gives the very token ids that all the ways are to read."""
    for texts, both in zip(plan["texts"], plan["ids"], strict=True):
        for text, ids in zip(texts, both, strict=True):
            found = list(tokenize(text)["input_ids"])
            if found != ids:
                raise ValueError(f"other token ids here: {found} instead of {ids} for {text!r}")


def python_of(environment: Path) -> Path:
    return environment / "bin" / "python"


def found_or_made(environment: Path, say: Callable[[str], None], make: bool) -> dict[str, str]:
    """The versions of the peers in their environment, made where it is not complete; empty, and said, without them."""
    found = _versions(environment)
    if found:
        return found
    names = "steering-vectors and repeng"
    if not make:
        say(f"{names}: left out, no complete environment in {environment} (a run without --quick makes it)")
        return {}
    say(f"{names}: making an environment in {environment}, once")
    try:
        if not python_of(environment).is_file():
            subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, stdout=sys.stderr)
        for packages in INSTALLED_IN_TURN:
            command = [str(python_of(environment)), "-m", "pip", "install", "--quiet", *packages]
            subprocess.run(command, check=True, stdout=sys.stderr)
    except (subprocess.CalledProcessError, OSError) as error:
        say(f"{names}: left out, their environment cannot be made: {error}")
    return _versions(environment)


def _versions(environment: Path) -> dict[str, str]:
    if not python_of(environment).is_file():
        return {}
    command = [str(python_of(environment)), __file__, "--versions"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found: dict[str, str] = json.loads(done.stdout) if done.returncode == 0 else {}
    return found


class Peers:
    """Both libraries on one torch model. Neither is given more than its documented arguments."""

    def load(self, plan: str) -> dict[str, Any]:
        import torch
        from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

        self.plan = json.loads(Path(plan).read_text(encoding="utf-8"))
        torch.set_num_threads(self.plan["threads"])
        folder = self.plan["folder"]
        # By class: the name that a newer transformers writes into the tokenizer's config is unknown to an older one.
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        self.tokenizer.pad_token = self.tokenizer.eos_token
        # Both pass on all that the tokenizer returns, and GPT-2 adds an embedding for token types, which has no place.
        self.tokenizer.model_input_names = ["input_ids", "attention_mask"]
        check_ids(self.tokenizer, self.plan)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        return {"threads": torch.get_num_threads()}

    def steering_vectors(self, pairs: list[int], batch: int) -> dict[str, Any]:
        """As its documentation computes a vector; its default aggregator is the mean difference."""
        from steering_vectors import SteeringVectorTrainingSample, train_steering_vector

        start = time.perf_counter()
        samples = [SteeringVectorTrainingSample(*self.plan["texts"][i]) for i in pairs]
        vector = train_steering_vector(
            self.model, self.tokenizer, samples, read_token_index=-1, batch_size=batch, show_progress=False
        )
        seconds = time.perf_counter() - start
        found = vector.layer_activations
        return {"seconds": seconds, "vector": [found[layer].tolist() for layer in sorted(found)]}

    def repeng(self, pairs: list[int], batch: int) -> dict[str, Any]:
        """The reading of activations that ``ControlVector.train`` starts with; its PCA is not timed.

        The last layer's vector is left out: what it reads there is the stream after the final norm.
        """
        import numpy as np
        from repeng.extract import batched_get_hiddens

        start = time.perf_counter()
        # positive, negative, positive, negative, ... in one list, as ``ControlVector.train`` passes them on
        texts = [text for i in pairs for text in self.plan["texts"][i]]
        layers = list(range(self.model.config.num_hidden_layers))
        found = batched_get_hiddens(self.model, self.tokenizer, texts, layers, batch)
        seconds = time.perf_counter() - start
        rows = [found[layer].astype(np.float64) for layer in layers[:-1]]
        return {"seconds": seconds, "vector": [(r[::2] - r[1::2]).mean(axis=0).tolist() for r in rows]}


def main() -> None:
    if "--versions" in sys.argv:
        print(json.dumps({name: importlib.metadata.version(name) for name in PACKAGES}))
        return
    peers = Peers()
    serve({"load": peers.load, "steering-vectors": peers.steering_vectors, "repeng": peers.repeng})


if __name__ == "__main__":
    main()
