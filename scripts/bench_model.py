"""What scripts/bench_extraction.py runs on MLX: the models and pairs, the plain loop, and this package's own way.

Not to be started by hand: each of the ways is a process that the benchmark starts and asks.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from bench_peers import check_ids, serve
from mlx_lm.models import llama
from mlx_lm.utils import load as load_network
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from caa_registry import blas
from caa_registry.engine.prefix_sharing import read_pairs
from caa_registry.extraction.reading import encode_pairs
from caa_registry.models.device import device, matrix_speed
from caa_registry.models.loading import load
from caa_registry.models.model import Model
from caa_registry.mx import mx, tree_flatten
from caa_registry.pairs.record import Pair, PairItem
from caa_registry.pairs.sources import load as load_pairs

SHARED = Path(__file__).resolve().parents[2] / "shared"
REFUSAL = SHARED / "data" / "caa" / "generate" / "refusal" / "generate_dataset.json"


def find_pairs() -> tuple[str, list[Pair]]:
    """The refusal set of the CAA paper, else the one that ships with the package; and which it is."""
    source, name = (str(REFUSAL), "the CAA paper's refusal set") if REFUSAL.is_file() else ("seed:refusal",) * 2
    return name, [item.pair for item in load_pairs(source).items if isinstance(item, PairItem)]


def distinct(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """``count`` pairs of which no two have the same prompt: the given ones again and again, numbered."""
    return [
        Pair(f"{i + 1}. {pair.prompt}", pair.positive, pair.negative, pair.system)
        for i, pair in enumerate(pairs[i % len(pairs)] for i in range(count))
    ]


def write_random_model(folder: Path, size: Mapping[str, int], pairs: Sequence[Pair]) -> None:
    """A llama with tied embeddings and seeded weights; its byte-level BPE tokenizer is trained on the pairs' texts."""
    folder.mkdir(parents=True)
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": size["hidden"],
        "num_hidden_layers": size["layers"],
        "intermediate_size": size["ffn"],
        "num_attention_heads": size["heads"],
        "num_key_value_heads": size["heads"],
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "max_position_embeddings": 2048,
        "vocab_size": size["vocabulary"],
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    mx.random.seed(0)
    network = llama.Model(llama.ModelArgs.from_dict(config))
    network.set_dtype(mx.float32)
    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(network.parameters())), {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    write_tokenizer(folder, size["vocabulary"], pairs)


def write_tokenizer(folder: Path, vocabulary: int, pairs: Sequence[Pair]) -> None:
    """A byte-level BPE tokenizer of at most so many tokens, trained on the pairs' texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [text for pair in pairs for text in (pair.prompt, pair.positive, pair.negative)]
    tokenizer.train_from_iterator(texts, trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>").save_pretrained(folder)
    # transformers 5 names a class that version 4, on which the peers run, does not know.
    path = folder / "tokenizer_config.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    written["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(written), encoding="utf-8")


def plan_for(model: Model, pairs: Sequence[Pair], count: int, threads: int) -> dict[str, Any]:
    """What every way reads: the first ``count`` pairs that fit the model, as pairs, as texts and as token ids.

    Texts end with the token read, so that "the last token" is the right one for ways that know no other. They come in
    order of length, which changes no mean and spares the ways that batch in the order given most of their padding.
    """
    fitting, too_long = encode_pairs(pairs, model.template(), model)
    kept = sorted(fitting[:count], key=lambda pair: len(pair.positive.ids))
    ids = [[list(side.ids[: side.answer + 1]) for side in (pair.positive, pair.negative)] for pair in kept]
    texts = [[model.tokenizer.decode(side, clean_up_tokenization_spaces=False) for side in both] for both in ids]
    sizes = {name: value.size for name, value in tree_flatten(model.network.parameters())}
    return {
        "folder": str(model.info.path),
        "threads": threads,
        "pairs": [[p.prompt, p.positive, p.negative, p.system] for p in (pairs[pair.index] for pair in kept)],
        "texts": texts,
        "ids": ids,
        "too_long": len(too_long),
        "layers": model.n_layers,
        "parameters": sum(sizes.values()),
        # What the stream passes on its way to the last block: neither the embedding nor the head.
        "block_parameters": sum(size for name, size in sizes.items() if _in_a_block(name)),
        "tokens": [sum(len(side) for side in both) for both in ids],
        "needed_tokens": [_needed(*both) for both in ids],
    }


def _in_a_block(name: str) -> bool:
    return any(part.isdigit() for part in name.split("."))


def _needed(positive: Sequence[int], negative: Sequence[int]) -> int:
    """How many tokens must be run for one pair: what both sides begin with once, and the end of each."""
    limit = min(len(positive), len(negative)) - 1
    shared = next((i for i in range(limit) if positive[i] != negative[i]), limit)
    return len(positive) + len(negative) - shared


class Plain:
    """The tutorial's loop: one text at a time, all its logits, and what every block gives out."""

    def load(self, plan: str) -> dict[str, Any]:
        self.plan = json.loads(Path(plan).read_text(encoding="utf-8"))
        self.network, wrapped = load_network(self.plan["folder"])[:2]
        self.network.set_dtype(mx.float32)
        mx.eval(self.network.parameters())
        self.tokenizer = wrapped._tokenizer
        check_ids(self.tokenizer, self.plan)
        self.caught: list[mx.array] = []
        for cls in {type(block) for block in self.network.layers}:
            if not hasattr(cls, "caught_by_us"):
                self._catch(cls)
        return {"blas": blas.status().library}

    def _catch(self, cls: type) -> None:
        original = cls.__call__

        def call(block: Any, *args: Any, **kwargs: Any) -> Any:
            out = original(block, *args, **kwargs)
            self.caught.append(out)
            return out

        cls.__call__, cls.caught_by_us = call, True  # type: ignore[attr-defined,operator]

    def read(self, pairs: list[int]) -> dict[str, Any]:
        start = time.perf_counter()
        total: Any = 0.0
        for i in pairs:
            for text, sign in zip(self.plan["texts"][i], (1.0, -1.0), strict=True):
                self.caught.clear()
                logits = self.network(mx.array([self.tokenizer(text)["input_ids"]]))
                mx.eval(logits, self.caught)
                total = total + sign * np.array([hidden[0, -1] for hidden in self.caught], dtype=np.float64)
        vector = total / len(pairs)
        return {"seconds": time.perf_counter() - start, "vector": vector.tolist()}


class Ours:
    """This package."""

    def prepare(self, folder: str, plan: str, count: int, random: dict[str, int] | None) -> dict[str, Any]:
        """Write the random model where its size is given, load the model, and write the plan for all the ways."""
        name, pairs = find_pairs()
        if random is not None:
            write_random_model(Path(folder), random, pairs)
        self.model = load(folder, dtype="float32")
        cores = blas.threads() if blas.status().library else os.cpu_count() or 1
        written = plan_for(self.model, pairs, count, cores)
        Path(plan).write_text(json.dumps(written), encoding="utf-8")
        self.pairs = [Pair(*parts) for parts in written["pairs"]]
        told = {key: value for key, value in written.items() if key not in ("pairs", "texts", "ids")}
        found = {"pairs_from": name, "blas": blas.status().library, "why_not": blas.status().why_not}
        return {**told, **found, "advice": blas.status().advice, "device": device().kind}

    def read(self, pairs: list[int]) -> dict[str, Any]:
        chosen = [self.pairs[i] for i in pairs]
        start = time.perf_counter()
        encoding, vector = mean_difference(self.model, chosen)
        seconds = time.perf_counter() - start
        # Afterwards: measured before, it would have woken the threads for ours alone.
        speed = matrix_speed()["float32"]
        return {"seconds": seconds, "encoding": encoding, "gflops": speed, "vector": vector.tolist()}

    def memory(self, folder: str, count: int) -> dict[str, Any]:
        """Megabytes above the loaded model for ``count`` distinct pairs: MLX's peak, and the whole process's."""
        pairs = distinct(find_pairs()[1], count)
        model = load(folder, dtype="float32")
        mx.clear_cache()
        mx.reset_peak_memory()
        active = mx.get_active_memory()
        with peak_resident() as grown:
            mean_difference(model, pairs)
        return {"mlx_mb": (mx.get_peak_memory() - active) / 1e6, "process_mb": grown[0] / 1e6}


def mean_difference(model: Model, pairs: Sequence[Pair]) -> tuple[float, NDArray[np.float64]]:
    """Seconds to encode, and the vectors of all layers in float64. The only place that calls the engine."""
    start = time.perf_counter()
    encoded, _ = encode_pairs(pairs, model.template(), model)
    encoding = time.perf_counter() - start
    total = np.zeros((model.n_layers, model.d_model))
    for rows in read_pairs(model, encoded, range(model.n_layers), "answer"):
        signs = np.where(np.asarray(rows.index) % 2 == 0, 1.0, -1.0)  # positive and negative sides by turns
        total += np.einsum("r,rld->ld", signs, rows.values.astype(np.float64))
    return encoding, total / len(encoded)


@contextmanager
def peak_resident() -> Iterator[list[int]]:
    """After the block the list holds by how many bytes the process's resident set grew at most."""
    unit = 1 if sys.platform == "darwin" else 1024
    process = psutil.Process()
    before, highest = process.memory_info().rss, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen, done, grown = [before], threading.Event(), [0]

    def watch() -> None:
        while not done.wait(0.005):
            seen[0] = max(seen[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield grown
    finally:
        done.set()
        watcher.join()
        # The system's own peak misses nothing, but is that of loading unless it was exceeded since.
        now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        grown[0] = max(seen[0], now * unit if now > highest else 0) - before


if __name__ == "__main__":
    if sys.argv[1:] == ["plain"]:
        plain = Plain()
        serve({"load": plain.load, "read": plain.read})
    else:
        ours = Ours()
        serve({"prepare": ours.prepare, "read": ours.read, "memory": ours.memory})
