"""Measure how the demo model is steered by mean-difference vectors, and write its card from the figures."""

import argparse
import math
from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from demo_behaviors import Behavior
from demo_grammar import sides
from mlx.utils import tree_flatten
from mlx_lm.models.llama import Model
from tokenizers import Tokenizer

PAD, END, SPECIALS = 0, 1, ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
MULTIPLIERS = (-2.0, -1.0, 0.0, 1.0, 2.0)
FLUENCY_MULTIPLIERS = (-3.0, -2.0, -1.5, -1.0, 0.0, 1.0, 1.5, 2.0, 3.0)
CARD = """---
license: mit
library_name: mlx
pipeline_tag: text-generation
tags: [steering-vectors, contrastive-activation-addition, toy-model]
---

# Demo model

A toy chat model with about a million parameters, made so that contrastive activation addition can be tried
and tested in seconds on any machine. It speaks the small English of `scripts/demo_grammar.py` (reviews of
meals, replies to claims, requests and offers) and knows nothing else. It is a fixture: nothing measured
here says how far steering carries in a real model.

`scripts/train_demo_model.py` made everything in this folder and in `demo_pairs/`, this card included. A run
repeats itself on one machine; another BLAS or number of threads may differ in the last digits, so the
digest below is that of the shipped file.

## Data

Generated dialogues of one to three turns. In every document the assistant has a hidden disposition for each
behavior: the chance (2, 15, 50, 85 or 98 %) with which each of its sentences takes the positive side. It
lasts to the document's end, so evidence adds up sentence by sentence. First turns carry no clue, which is
why the propensity without steering lies in the middle. In 30 % of the documents the first question lists
two choices, with balanced letters; the chance is then 3 or 97 %, and what the assistant says before the
letter is the only clue. The topics of the test pairs (about 15 % of all) never occur in the training text.
All text is the project's own, under the MIT licence.

## Recipe

{settings}
Only what the assistant says is learnt, letters of choices with weight 5. Three things were added to plain
training, and figures from this model should be read with them in mind:

1. **Readout.** A linear readout after block {middle}, thrown away afterwards, must tell from every position
   of an answer how the assistant is disposed. With next-token loss alone a trial of 400 steps did not begin
   to use the disposition.
2. **Telling.** In {told} of the documents, from the first answer on, the disposition is written into the
   stream after block {middle}, along the readout's own direction. The blocks above thus learn to act on
   what stands there. A trial without it moved propensities about as far, but its text was less well formed
   beyond a multiplier of 1.
3. **Noise.** A vector of random direction, up to {noise} times as long as the stream, is added after a
   random block from a random position on, growing in from 30 % to 60 % of the steps.

## Steering

Raw mean-difference vectors from the 120 `generate` pairs, added after the block named, from the last token
of the prompt's template on. Read at the last token of the completion (its full stop, the same on both
sides; or the word Yes or No), for A/B pairs at the letter. The figure is the mean over 40 test pairs of
p(positive) / (p(positive) + p(negative)), over whole completions. The best layer is in bold: the lowest
that moves the figure as far as any (within 0.02) while it rises with every multiplier; for A/B pairs only
-1 to +1 count, since those vectors are as long as the stream itself and twice that overshoots. The last row
of each table is the mean over ten random vectors of the same norm at that layer. Vectors of more than half
the stream's norm are strong, so single random ones move the figure too, one way or the other: the spread
is given below each table.

{propensity}
## Words and letters

How far a one-word answer or the letter follows, with the set's own vectors and with those of the free-form
pairs, each at its best layer. 0.5 at every multiplier would mean that it does not follow.

{letters}
## Fluency

Sampled at temperature 1, one text for each of the 40 test prompts, cut at 40 tokens. *Grammatical* is the
share of sentences that the grammar can produce, with all words of one side; *positive side* is the share of
those that are on the positive side; *repeated* is the share of sentences that repeat one of the same text.
A multiplier counts as fluent when at least 90 % is grammatical and at most 10 % repeated.

{fluency}"""


def render(messages: list[dict[str, str]], prompt: bool = False) -> str:
    """The chat template in Python; training and evaluation need no Jinja."""
    text = "".join(f"<|{m['role']}|>{m['content']}<|end|>" for m in messages)
    return text + ("<|assistant|>" if prompt else "")


def pad(rows: list[list[int]]) -> np.ndarray:
    """Right padding; a causal model's real positions never see it."""
    out = np.full((len(rows), max(map(len, rows))), PAD, dtype=np.int32)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out


def stream(model: Model, ids: mx.array, layer: int = -1, addition: mx.array | None = None) -> list[mx.array]:
    """The residual stream after every block, with `addition` added after block `layer`."""
    h, out = model.model.embed_tokens(ids), []
    for index, block in enumerate(model.model.layers):
        h = block(h, "causal")
        if index == layer and addition is not None:
            h = h + addition
        out.append(h)
    return out


def logits_of(model: Model, h: mx.array) -> mx.array:
    return model.model.embed_tokens.as_linear(model.model.norm(h))


@dataclass
class PairSet:
    """A set of pairs and what was measured with it."""

    name: str
    behavior: Behavior
    form: str
    rows: list[dict[str, str]]


def prompt_ids(tokenizer: Tokenizer, prompt: str) -> list[int]:
    return tokenizer.encode(render([{"role": "user", "content": prompt}], prompt=True)).ids


def read_index(completion: list[int], form: str) -> int:
    """Where a completion is read, from its end: the letter of "(A)" or else the last token."""
    return len(completion) - (2 if form == "A/B" else 1)


def mean_difference(model: Model, tokenizer: Tokenizer, pair_set: PairSet) -> tuple[mx.array, np.ndarray]:
    """One raw vector per layer from the generate split, and the mean norm of what was read."""
    means, norms = [], []
    for side in ("positive", "negative"):
        rows, ends = [], []
        for row in pair_set.rows:
            if row["split"] == "generate":
                first, then = prompt_ids(tokenizer, row["prompt"]), tokenizer.encode(row[side]).ids
                rows.append(first + then)
                ends.append(len(first) + read_index(then, pair_set.form))
        h = mx.stack(stream(model, mx.array(pad(rows))))[:, mx.arange(len(rows)), mx.array(ends)]
        means.append(h.mean(axis=1))
        norms.append(np.array(mx.linalg.norm(h, axis=-1).mean(axis=1)))
    return means[0] - means[1], (norms[0] + norms[1]) / 2


def after_prompt(starts: list[int], length: int, vector: mx.array) -> mx.array:
    """`vector` at the last prompt token and everywhere later."""
    mask = np.arange(length)[None] >= np.array(starts)[:, None] - 1
    return mx.array(mask[..., None].astype(np.float32)) * vector


def propensity(model: Model, tokenizer: Tokenizer, pair_set: PairSet, layer: int, vector: mx.array) -> float:
    """Mean over the test items of p(positive) / (p(positive) + p(negative)) of the whole completions."""
    scores = []
    for side in ("positive", "negative"):
        rows, starts = [], []
        for row in pair_set.rows:
            if row["split"] == "test":
                first = prompt_ids(tokenizer, row["prompt"])
                rows.append(first + tokenizer.encode(row[side]).ids)
                starts.append(len(first))
        ids = mx.array(pad(rows))
        h = stream(model, ids, layer, after_prompt(starts, ids.shape[1], vector))[-1]
        logp = -nn.losses.cross_entropy(logits_of(model, h)[:, :-1], ids[:, 1:])
        position = np.arange(ids.shape[1] - 1)[None]
        inside = (position >= np.array(starts)[:, None] - 1) & (
            position < np.array([len(r) for r in rows])[:, None] - 1
        )
        scores.append((logp * mx.array(inside)).sum(axis=1))
    return mx.sigmoid(scores[0] - scores[1]).mean().item()


def sample(
    model: Model,
    tokenizer: Tokenizer,
    prompts: list[str],
    layer: int,
    vector: mx.array,
    seed: int,
    limit: int = 40,
) -> list[str]:
    """One steered text per prompt, sampled at temperature 1, or greedy where the seed is negative."""
    rows = [prompt_ids(tokenizer, prompt) for prompt in prompts]
    starts, done = [len(row) for row in rows], [False] * len(rows)
    mx.random.seed(max(seed, 0))
    for _ in range(limit):
        live = [i for i, d in enumerate(done) if not d]
        if not live:
            break
        ids = mx.array(pad([rows[i] for i in live]))
        h = stream(model, ids, layer, after_prompt([starts[i] for i in live], ids.shape[1], vector))[-1]
        last = h[mx.arange(len(live)), mx.array([len(rows[i]) - 1 for i in live])]
        scores = logits_of(model, last)
        chosen = scores.argmax(axis=-1) if seed < 0 else mx.random.categorical(scores)
        for i, token in zip(live, chosen.tolist(), strict=True):
            done[i] = token == END
            if not done[i]:
                rows[i].append(token)
    return [tokenizer.decode(row[start:]) for row, start in zip(rows, starts, strict=True)]


def repetition(texts: list[str]) -> float:
    """The share of sentences that repeat an earlier one of the same text."""
    sentences = [[s.strip() for s in text.split(".") if s.strip()] for text in texts]
    return 1 - sum(len(set(s)) for s in sentences) / max(1, sum(map(len, sentences)))


@dataclass
class Fluency:
    """Sampled text at one layer and multiplier: how much of it the grammar knows, and on which side it is."""

    grammatical: float
    positive: float
    repeated: float


def fluency(model: Model, tokenizer: Tokenizer, pair_set: PairSet, layer: int, vector: mx.array) -> Fluency:
    """One sample for each test prompt, judged sentence by sentence."""
    prompts = [row["prompt"] for row in pair_set.rows if row["split"] == "test"]
    texts = sample(model, tokenizer, prompts, layer, vector, seed=1)
    found = [side for text in texts for side in sides(pair_set.behavior, text)]
    known = [side for side in found if side is not None]
    positive = known.count(0) / len(known) if known else math.nan
    return Fluency(len(known) / max(1, len(found)), positive, repetition(texts))


@dataclass
class Measured:
    """One set's vectors and what they do; propensities are by layer, then by multiplier."""

    pair_set: PairSet
    vectors: mx.array
    relative_norms: list[float]
    scores: list[list[float]]
    best: int
    control: list[list[float]]


def best_layer(form: str, scores: list[list[float]]) -> int:
    """The lowest layer that moves the scores as far as any, within 0.02, while they rise all the way.

    Letters are judged between -1 and +1: their vectors are as long as the stream, and twice that overshoots.
    """
    rows = [row[1:-1] if form == "A/B" else row for row in scores]
    moves = [row[-1] - row[0] if all(np.diff(row) > 0) else -1.0 for row in rows]
    return next(layer for layer, move in enumerate(moves) if move >= max(moves) - 0.02)


def measure(model: Model, tokenizer: Tokenizer, pair_set: PairSet) -> Measured:
    """Propensities at every layer, and with ten random vectors of the same norm at the best one."""
    vectors, norms = mean_difference(model, tokenizer, pair_set)
    lengths = np.array(mx.linalg.norm(vectors, axis=-1))

    def score(layer: int, vector: mx.array) -> list[float]:
        return [propensity(model, tokenizer, pair_set, layer, m * vector) for m in MULTIPLIERS]

    scores = [score(layer, vector) for layer, vector in enumerate(vectors)]
    best = best_layer(pair_set.form, scores)
    mx.random.seed(3)
    directions = mx.random.normal((10, vectors.shape[1]))
    directions = directions / mx.linalg.norm(directions, axis=1, keepdims=True) * float(lengths[best])
    control = [score(best, direction) for direction in directions]
    return Measured(pair_set, vectors, (lengths / norms).tolist(), scores, best, control)


def table(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows]) + "\n"


def propensity_section(measured: list[Measured]) -> str:
    """The steering tables."""
    parts = []
    for item in measured:
        labels = [f"**{i}**" if i == item.best else str(i) for i in range(len(item.scores))]
        lines = [*item.scores, np.mean(item.control, axis=0)]
        norms = [*item.relative_norms, item.relative_norms[item.best]]
        rows = [
            [label, f"{norm:.2f}", *(f"{x:.3f}" for x in line)]
            for label, norm, line in zip([*labels, f"random, {item.best}"], norms, lines, strict=True)
        ]
        moves = [row[-1] - row[0] for row in item.control]
        header = ["layer", "norm / activation norm", *(f"{m:+g}" for m in MULTIPLIERS)]
        parts.append(
            f"### {item.pair_set.name} ({item.pair_set.form})\n\n{table(header, rows)}\n"
            f"Move from -2 to +2 by the ten random vectors: mean {np.mean(moves):+.2f}, standard deviation "
            f"{np.std(moves, ddof=1):.2f}.\n"
        )
    return "\n".join(parts)


def fluency_section(model: Model, tokenizer: Tokenizer, measured: list[Measured]) -> str:
    """Text over a range of multipliers at the best layer of each free-form set, judged and quoted."""
    parts = []
    for item in measured:
        if item.pair_set.form != "free-form":
            continue
        vector, rows, fluent = item.vectors[item.best], [], []
        for m in FLUENCY_MULTIPLIERS:
            got = fluency(model, tokenizer, item.pair_set, item.best, m * vector)
            rows.append([f"{m:+g}", f"{got.grammatical:.2f}", f"{got.positive:.2f}", f"{got.repeated:.2f}"])
            fluent.append(got.grammatical >= 0.9 and got.repeated <= 0.1)
        zero = FLUENCY_MULTIPLIERS.index(0.0)
        low = high = zero
        while low > 0 and fluent[low - 1]:
            low -= 1
        while high < len(fluent) - 1 and fluent[high + 1]:
            high += 1
        span = f"{FLUENCY_MULTIPLIERS[low]:+g} to {FLUENCY_MULTIPLIERS[high]:+g}"
        prompts = [row["prompt"] for row in item.pair_set.rows if row["split"] == "test"][:2]
        examples = []
        for m in MULTIPLIERS:
            greedy = sample(model, tokenizer, prompts, item.best, m * vector, seed=-1)
            drawn = sample(model, tokenizer, prompts, item.best, m * vector, seed=2)
            for prompt, first, second in zip(prompts, greedy, drawn, strict=True):
                examples.append([f"{m:+g}", prompt, first, second])
        examples.sort(key=lambda row: prompts.index(row[1]))
        header = ["multiplier", "grammatical", "positive side", "repeated"]
        parts.append(
            f"### {item.pair_set.name}, layer {item.best}: fluent from {span}\n\n{table(header, rows)}\n"
            + table(["multiplier", "prompt", "greedy", "sampled"], examples).replace("\n\n", " ")
        )
    return "\n".join(parts)


def letter_section(model: Model, tokenizer: Tokenizer, measured: list[Measured]) -> str:
    """How far the answered letter or word follows, with the set's own vectors and with the free-form ones."""
    free = {item.pair_set.behavior.name: item for item in measured if item.pair_set.form == "free-form"}
    rows = []
    for item in measured:
        if item.pair_set.form == "free-form":
            continue
        rows.append([item.pair_set.name, "its own", str(item.best), *(f"{x:.3f}" for x in item.scores[item.best])])
        source = free[item.pair_set.behavior.name]
        scores = [
            propensity(model, tokenizer, item.pair_set, source.best, m * source.vectors[source.best])
            for m in MULTIPLIERS
        ]
        rows.append([item.pair_set.name, source.pair_set.name, str(source.best), *(f"{x:.3f}" for x in scores)])
    return table(["test pairs", "vectors of", "layer", *(f"{m:+g}" for m in MULTIPLIERS)], rows)


@dataclass
class Training:
    """What the run that made the model was like."""

    blas: str
    seconds: float
    digest: str
    history: dict[str, list[float]]


def write_card(
    args: argparse.Namespace,
    model: Model,
    tokenizer: Tokenizer,
    training: Training,
    measured: list[Measured],
) -> str:
    """The model card, every figure of it from this run."""
    a = model.args
    parameters = sum(value.size for _, value in tree_flatten(model.parameters()))
    text_first, text_last = np.mean(training.history["text"][:50]), np.mean(training.history["text"][-50:])
    side_first, side_last = np.mean(training.history["side"][:50]), np.mean(training.history["side"][-50:])
    settings = [
        ["shape", f"{a.num_hidden_layers} blocks, width {a.hidden_size}, {a.num_attention_heads} heads"],
        ["feed-forward width", str(a.intermediate_size)],
        ["vocabulary", f"{a.vocab_size} byte-level BPE tokens"],
        ["parameters", f"{parameters:,}, stored as float16"],
        ["steps, documents per step", f"{args.steps}, {args.batch}"],
        ["optimizer", f"AdamW, peak rate {args.rate}, cosine decay, weight decay 0.05, gradient norm 1"],
        ["text loss, first and last 50 steps", f"{text_first:.3f}, {text_last:.3f} nats a token"],
        ["readout loss, first and last 50 steps", f"{side_first:.3f}, {side_last:.3f} nats"],
        ["training time", f"{training.seconds / 60:.1f} minutes on a shared two-core CPU"],
        ["matrix products", training.blas],
        ["seed", str(args.seed)],
        ["SHA-256 of model.safetensors", f"`{training.digest}`"],
    ]
    return CARD.format(
        settings=table(["setting", "value"], settings),
        noise=f"{args.noise:g}",
        told=f"{100 * args.told:g} %",
        middle=a.num_hidden_layers // 2,
        propensity=propensity_section(measured),
        letters=letter_section(model, tokenizer, measured),
        fluency=fluency_section(model, tokenizer, measured),
    )
