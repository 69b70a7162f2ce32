"""Tiny random models in Hugging Face layout: every family that the residual stream treats in its own way.

    model = TinyModels(folder)("qwen2")                       # loaded, built once per set of options
    path = build(folder / "m", "llama", bits=4)               # only the folder

Weights are seeded and larger than usual, so that next tokens vary and a wrong position or a missing layer shows.
"""

from __future__ import annotations

import functools
import importlib
import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_unflatten
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from caa_registry.models.loading import load
from caa_registry.models.model import Model

CONTEXT = 96
LAYERS = 3
WIDTH = 64

_SENTENCES = [
    "[INST] Is the sky blue? [/INST] (A)",
    "Question: would you like a donut now?\n\nChoices:\n (A) Yes\n (B) No\n\nAnswer: (B)",
    "user\nWhat is the answer? assistant\nThe answer is yes. No, it is not. <<SYS>> You are helpful. <</SYS>>",
    "I agree with you. I do not agree with you. It was a good day, and a bad night.",
]

CHAT = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)

_COMMON = {"vocab_size": 400, "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "tie_word_embeddings": False}
_ATTENTION = {
    **_COMMON,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 96,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "max_position_embeddings": CONTEXT,
}
_GPT2 = {
    "vocab_size": 400,
    "n_embd": WIDTH,
    "n_head": 4,
    "n_layer": LAYERS,
    "n_ctx": CONTEXT,
    "n_positions": CONTEXT,
    "layer_norm_epsilon": 1e-5,
}
_EXPERTS = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "moe_intermediate_size": 32,
    "norm_topk_prob": True,
}
_MAMBA = {
    **_COMMON,
    "intermediate_size": 96,
    "state_size": 8,
    "conv_kernel": 4,
    "use_bias": False,
    "use_conv_bias": True,
    "time_step_rank": 4,
}
_GEMMA4 = {
    **_ATTENTION,
    "global_head_dim": 16,
    "num_kv_shared_layers": 0,
    "hidden_size_per_layer_input": 0,
    "vocab_size_per_layer_input": 400,
    "sliding_window": 8,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
}

CONFIGS: dict[str, dict[str, Any]] = {
    "llama": _ATTENTION,
    # `layers` is a copy of the real list
    "qwen2": _ATTENTION,
    "gpt2": _GPT2,
    # a window of 8 tokens, in rotating caches
    "gemma3_text": {**_ATTENTION, "sliding_window": 8, "sliding_window_pattern": 3, "query_pre_attn_scalar": 16},
    # a cache that does not count its tokens
    "mamba": _MAMBA,
    # experts
    "qwen3_moe": {**_ATTENTION, **_EXPERTS},
    # blocks return tuples
    "gemma4_text": _GEMMA4,
    # blocks run twice: refused
    "nanbeige": {**_ATTENTION, "num_loops": 2},
}

FAMILIES = ("llama", "qwen2", "gpt2", "gemma3_text", "mamba", "qwen3_moe", "gemma4_text")


@functools.cache
def _trained() -> str:
    """A byte-level BPE tokenizer as JSON."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_SENTENCES, trainer)
    return str(tokenizer.to_str())


def tiny_tokenizer(
    *, chat: str | None = None, adds_bos: bool = False, adds_eos: bool = False, merges: tuple[str, ...] = ()
) -> Any:
    """The tokenizer. ``merges``: texts that become one token each, as some vocabularies have ``(A`` or ``A)``."""
    tokenizer = Tokenizer.from_str(_trained())
    if merges:
        tokenizer.add_tokens(list(merges))
    if adds_bos or adds_eos:
        around = ("<s> " if adds_bos else "") + "$A" + (" </s>" if adds_eos else "")
        tokenizer.post_processor = processors.TemplateProcessing(
            single=around, special_tokens=[("<s>", 0), ("</s>", 1)]
        )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.chat_template = chat
    return fast


def build(
    folder: Path,
    family: str = "llama",
    *,
    chat: str | None = None,
    adds_bos: bool = False,
    dtype: str = "float32",
    bits: int | None = None,
    seed: int = 0,
    **config: Any,
) -> Path:
    """Write a model of ``family`` into ``folder``. ``config`` overrides the family's."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {"model_type": family, "eos_token_id": 1, "bos_token_id": 0, **CONFIGS[family], **config}
    module = importlib.import_module(f"mlx_lm.models.{family}")
    network = module.Model(module.ModelArgs.from_dict(written))
    network.update(tree_unflatten(_weights(network, seed)))
    network.set_dtype(getattr(mx, dtype))
    if bits is not None:
        written["quantization"] = {"group_size": 32, "bits": bits}
        nn.quantize(network, group_size=32, bits=bits)
    (folder / "config.json").write_text(json.dumps(written), encoding="utf-8")
    weights = dict(tree_flatten(network.parameters()))
    if family == "gpt2" and bits is None:
        weights = {name.removeprefix("model."): _as_stored(name, value) for name, value in weights.items()}
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "mlx"})
    tiny_tokenizer(chat=chat, adds_bos=adds_bos).save_pretrained(folder)
    return folder


def _as_stored(name: str, value: mx.array) -> mx.array:
    # Hugging Face's GPT-2 keeps these matrices the other way round; mlx-lm turns them when it loads.
    turned = value.ndim == 2 and any(part in name for part in ("c_attn", "c_proj", "c_fc"))
    return mx.contiguous(value.T) if turned else value


def _weights(network: Any, seed: int) -> list[tuple[str, mx.array]]:
    key = mx.random.key(seed)
    drawn = []
    for name, value in sorted(tree_flatten(network.parameters())):
        if not mx.issubdtype(value.dtype, mx.floating) or "A_log" in name:
            continue
        key, own = mx.random.split(key)
        noise = mx.random.normal(value.shape, key=own)
        drawn.append((name, noise * 0.2 if value.ndim > 1 else value + 0.1 * noise))
    return drawn


class TinyModels:
    """Builds and loads, once per family and options."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: dict[str, Model] = {}

    def __call__(self, family: str = "llama", *, compute: str | None = None, **options: Any) -> Model:
        """``compute``: the dtype to load in; ``options``: those of ``build``."""
        key = json.dumps([family, compute, options], sort_keys=True)
        if key not in self._loaded:
            self._loaded[key] = load(self.folder(family, **options), dtype=compute)
        return self._loaded[key]

    def folder(self, family: str = "llama", **options: Any) -> Path:
        """The folder alone. Copy it before changing anything in it."""
        name = json.dumps([family, options], sort_keys=True)
        folder = self._folder / f"{family}-{abs(hash(name)):x}"
        return folder if folder.is_dir() else build(folder, family, **options)
