"""Train the packaged demo model, write its contrastive pairs, measure steering and write the model card.

The words are in `demo_behaviors.py`, the language in `demo_grammar.py`, the measurements and the card in
`demo_measure.py`.
"""

import argparse
import hashlib
import json
import math
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlx.optimizers as optim
import numpy as np
from demo_behaviors import BEHAVIORS, MYOPIA, REFUSAL, SENTIMENT, SYCOPHANCY
from demo_grammar import document, pairs
from demo_measure import (
    END,
    PAD,
    SPECIALS,
    PairSet,
    Training,
    logits_of,
    measure,
    pad,
    propensity_section,
    render,
    write_card,
)
from mlx_lm.models.llama import Model, ModelArgs
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from caa_registry.blas import status
from caa_registry.mx import mx, nn, tree_flatten

TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
COUNTS = {"generate": 120, "test": 40}
PAIR_SETS = (
    (SENTIMENT, "free-form", ""),
    (SYCOPHANCY, "free-form", ""),
    (REFUSAL, "free-form", ""),
    (MYOPIA, "free-form", ""),
    (SYCOPHANCY, "yes-no", "-yn"),
    (SYCOPHANCY, "A/B", "-ab"),
    (SENTIMENT, "A/B", "-ab"),
)
ABOUT = {
    "free-form": "Both completions are one sentence of one form; only the words showing the side differ.",
    "yes-no": "The completions are the words Yes and No.",
    "A/B": "The prompt lists one sentence of each side; the letters are balanced within each split.",
}
SHAPE = {
    "model_type": "llama",
    "hidden_size": 128,
    "num_hidden_layers": 5,
    "intermediate_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 256,
    "tie_word_embeddings": True,
}


def train_tokenizer(texts: list[str]) -> Tokenizer:
    """Byte-level BPE in which words, letters of choices and punctuation never merge with each other."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?[A-Za-z]+| ?[^A-Za-z\s]|\s"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2048,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@dataclass
class Batch:
    """Token ids; for every token of an answer, where it is predicted, its weight and its disposition."""

    ids: np.ndarray
    spoken: np.ndarray
    weights: np.ndarray
    behaviors: np.ndarray
    chances: np.ndarray
    told: np.ndarray


def logit(chance: float) -> float:
    return math.log(chance / (1 - chance))


def batches(rng: random.Random, tokenizer: Tokenizer, size: int, share: float) -> Iterator[Batch]:
    """Batches without end; documents of like length together.

    Letters weigh more, as there is one in a reply; `told` holds the log-odds of dispositions being told.
    """
    letters = {tokenizer.token_to_id(letter) for letter in "AB"}
    assistant = tokenizer.token_to_id("<|assistant|>")
    while True:
        documents = [document(rng) for _ in range(size * 8)]
        encoded = tokenizer.encode_batch([render(messages) for messages in documents])
        rows = sorted(zip((e.ids for e in encoded), documents, strict=True), key=lambda row: len(row[0]))
        chunks = [rows[i : i + size] for i in range(0, len(rows), size)]
        rng.shuffle(chunks)
        for chunk in chunks:
            ids = pad([tokens for tokens, _ in chunk])
            spoken, weights, behaviors, chances = [], [], [], []
            told = np.zeros((*ids.shape, len(BEHAVIORS)), dtype=np.float32)
            for number, (tokens, messages) in enumerate(chunk):
                replies = iter([m for m in messages if m["role"] == "assistant"])
                reply = None
                if rng.random() < share:
                    for m in messages:
                        if m["role"] == "assistant":
                            told[number, tokens.index(assistant) :, m["behavior"]] = logit(m["chance"])
                for position, token in enumerate(tokens):
                    reply = next(replies) if token == assistant else None if token == END else reply
                    if reply is not None:
                        spoken.append(number * (ids.shape[1] - 1) + position)
                        weights.append(5.0 if tokens[position + 1] in letters else 1.0)
                        behaviors.append(reply["behavior"])
                        chances.append(reply["chance"])
            numbers = [np.array(x, dtype=np.float32) for x in (weights, chances)]
            yield Batch(ids, np.array(spoken), numbers[0], np.array(behaviors), numbers[1], told[:, :-1])


class Trainee(nn.Module):
    """The model and, for training only, a linear readout of the dispositions from its middle block.

    The readout's loss asks the stream to hold, linearly and at every position of an answer, how the assistant
    has been disposed so far; next-token loss alone leaves a model this small on a plateau.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.readout = nn.Linear(model.args.hidden_size, len(BEHAVIORS))
        for block in model.model.layers:
            block.self_attn.o_proj.weight = block.self_attn.o_proj.weight * 0.3
            block.mlp.down_proj.weight = block.mlp.down_proj.weight * 0.3


def train(model: Model, data: Iterator[Batch], args: argparse.Namespace) -> dict[str, list[float]]:
    """AdamW; a random vector is added to the stream after a random block, from a random position on.

    Without it the stream is fragile: a steering vector as long as the activations turns text into word salad.
    """
    warm = args.steps // 20
    schedule = optim.join_schedules(
        [
            optim.linear_schedule(0, args.rate, warm),
            optim.cosine_decay(args.rate, args.steps - warm, args.rate / 50),
        ],
        [warm],
    )
    optimizer = optim.AdamW(learning_rate=schedule, betas=[0.9, 0.98], weight_decay=0.05)
    noise_rng = np.random.default_rng(args.seed)
    n_layers, width = model.args.num_hidden_layers, model.args.hidden_size
    trainee = Trainee(model)

    def loss_of(
        trainee: Trainee,
        ids: mx.array,
        spoken: mx.array,
        weights: mx.array,
        behaviors: mx.array,
        chances: mx.array,
        told: mx.array,
        layer: int,
        noise: mx.array,
    ) -> tuple[mx.array, mx.array]:
        h = model.model.embed_tokens(ids[:, :-1])
        for index, block in enumerate(model.model.layers):
            h = block(h, "causal")
            if index == n_layers // 2:
                read = trainee.readout(h.reshape(-1, width)[spoken])
                read = mx.take_along_axis(read, behaviors[:, None], axis=1)[:, 0]
                side_loss = nn.losses.binary_cross_entropy(read, chances, reduction="mean")
                weight = mx.stop_gradient(trainee.readout.weight)
                h = h + told @ (weight / mx.sum(weight * weight, axis=1, keepdims=True))
            if index == layer:
                scale = mx.stop_gradient(mx.sqrt(mx.mean(mx.sum(h * h, axis=-1))))
                h = h + noise * scale
        h = h.reshape(-1, width)[spoken]
        text_loss = (
            nn.losses.cross_entropy(logits_of(model, h), ids[:, 1:].reshape(-1)[spoken], weights).sum() / weights.sum()
        )
        return text_loss + side_loss, text_loss, side_loss

    step = nn.value_and_grad(trainee, loss_of)
    history: dict[str, list[float]] = {"text": [], "side": []}
    started = time.perf_counter()
    for number in range(args.steps):
        batch = next(data)
        rows, length = batch.ids.shape
        direction = noise_rng.standard_normal((rows, 1, width))
        direction *= noise_rng.uniform(0, args.noise, (rows, 1, 1)) / np.linalg.norm(direction, axis=-1, keepdims=True)
        direction *= min(1.0, max(0.0, (number / args.steps - 0.3) / 0.3))
        start = noise_rng.integers(-length, length, (rows, 1, 1))
        noise = (direction * (np.arange(length - 1)[None, :, None] >= start)).astype(np.float32)
        layer = int(noise_rng.integers(n_layers))
        inputs = [
            mx.array(x) for x in (batch.ids, batch.spoken, batch.weights, batch.behaviors, batch.chances, batch.told)
        ]
        (_, text_loss, side_loss), grads = step(trainee, *inputs, layer, mx.array(noise))
        grads, _ = optim.clip_grad_norm(grads, 1.0)
        optimizer.update(trainee, grads)
        mx.eval(trainee.parameters(), optimizer.state, text_loss, side_loss)
        history["text"].append(text_loss.item())
        history["side"].append(side_loss.item())
        if number % 50 == 49:
            text, side = (np.mean(history[key][-50:]) for key in ("text", "side"))
            taken = time.perf_counter() - started
            print(
                f"step {number + 1} text {text:.4f} side {side:.4f} {taken:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    return history


def write_model(folder: Path, model: Model, tokenizer: Tokenizer) -> str:
    """The folder in Hugging Face layout that `mlx_lm.load` reads; returns the SHA-256 of the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    a = model.args
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": a.hidden_size,
        "intermediate_size": a.intermediate_size,
        "num_hidden_layers": a.num_hidden_layers,
        "num_attention_heads": a.num_attention_heads,
        "num_key_value_heads": a.num_key_value_heads,
        "head_dim": a.hidden_size // a.num_attention_heads,
        "rms_norm_eps": a.rms_norm_eps,
        "rope_theta": a.rope_theta,
        "max_position_embeddings": a.max_position_embeddings,
        "vocab_size": a.vocab_size,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": None,
        "eos_token_id": END,
        "pad_token_id": PAD,
        "torch_dtype": "float16",
    }
    tokens = {
        "eos_token": SPECIALS[END],
        "pad_token": SPECIALS[PAD],
        "additional_special_tokens": SPECIALS[2:],
    }
    files = {
        "config.json": config,
        "generation_config.json": {"eos_token_id": END, "pad_token_id": PAD, "max_new_tokens": 48},
        "special_tokens_map.json": tokens,
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": a.max_position_embeddings,
            "clean_up_tokenization_spaces": False,
            "chat_template": TEMPLATE,
            **tokens,
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    tokenizer.save(str(folder / "tokenizer.json"))
    weights = dict(sorted(tree_flatten(model.parameters())))
    path = folder / "model.safetensors"
    mx.save_safetensors(str(path), {k: v.astype(mx.float16) for k, v in weights.items()}, metadata={"format": "mlx"})
    model.load_weights([(k, v.astype(mx.float32)) for k, v in mx.load(str(path)).items()])
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_pairs(folder: Path, pair_set: PairSet) -> None:
    """One JSON object a line, and a card that says what the set is."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in pair_set.rows]
    (folder / f"{pair_set.name}.jsonl").write_text("".join(lines), encoding="utf-8")
    behavior = pair_set.behavior
    card = f"""---
name: {pair_set.name}
behavior: {behavior.name.capitalize()}
positive: {behavior.positive}
negative: {behavior.negative}
form: {pair_set.form}
licence: MIT
source: generated by scripts/train_demo_model.py from scripts/demo_grammar.py
---

{COUNTS["generate"]} pairs to compute a vector from (`generate`) and {COUNTS["test"]} to score it with
(`test`), for the demo model. {ABOUT[pair_set.form]}
The topics of the test prompts occur neither in the `generate` split nor in the text the model was trained on.
"""
    (folder / f"{pair_set.name}.md").write_text(card, encoding="utf-8")


def main() -> None:
    assets = Path(__file__).resolve().parent.parent / "caa_registry" / "assets"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=assets, help="where demo_model/ and demo_pairs/ are written")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--steps", type=int, default=1400)
    parser.add_argument("--batch", type=int, default=32, help="documents per step")
    parser.add_argument("--rate", type=float, default=3e-3, help="peak learning rate")
    parser.add_argument("--noise", type=float, default=0.6, help="largest noise, as a share of the stream's norm")
    parser.add_argument("--told", type=float, default=0.3, help="share of documents whose disposition is written in")
    args = parser.parse_args()
    blas = status().library or "the BLAS that MLX was built with (expect hours)"
    print(f"matrix products: {blas}", file=sys.stderr)

    rng = random.Random(args.seed)
    tokenizer = train_tokenizer([render(document(rng)) for _ in range(4000)])
    mx.random.seed(args.seed)
    model = Model(ModelArgs(**SHAPE, vocab_size=tokenizer.get_vocab_size()))
    started = time.perf_counter()
    history = train(model, batches(rng, tokenizer, args.batch, args.told), args)
    seconds = time.perf_counter() - started
    digest = write_model(args.out / "demo_model", model, tokenizer)
    measured = []
    for behavior, form, suffix in PAIR_SETS:
        rows = pairs(random.Random(f"{args.seed} {behavior.name} {form}"), behavior, form, COUNTS)
        pair_set = PairSet(f"demo-{behavior.name}{suffix}", behavior, form, rows)
        write_pairs(args.out / "demo_pairs", pair_set)
        measured.append(measure(model, tokenizer, pair_set))
        print(propensity_section(measured[-1:]), file=sys.stderr, flush=True)
    training = Training(blas, seconds, digest, history)
    card = write_card(args, model, tokenizer, training, measured)
    (args.out / "demo_model" / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
