"""Configurations of architectures with attention and a dense MLP in every block."""

from __future__ import annotations

from typing import Any

from support.architectures_common import (
    LATENT,
    LAYERS,
    LLAMA3,
    SLIDING,
    THREE_TO_ONE,
    VOCABULARY,
    WIDTH,
    WINDOW,
    YARN,
    config,
    wrapped,
)

_GPT2 = {
    "vocab_size": VOCABULARY,
    "n_embd": WIDTH,
    "n_head": 4,
    "n_layer": LAYERS,
    "n_ctx": 256,
    "n_positions": 256,
    "n_inner": 96,
    "layer_norm_epsilon": 1e-5,
}
_SCALES = {
    "logits_scaling": 2.0,
    "attention_multiplier": 0.25,
    "embedding_multiplier": 2.0,
    "residual_multiplier": 0.5,
}
_GEMMA4 = config(
    "gemma4_text",
    head_dim=16,
    global_head_dim=32,
    layer_types=SLIDING,
    num_kv_shared_layers=0,
    hidden_size_per_layer_input=0,
    vocab_size_per_layer_input=VOCABULARY,
    rope_parameters={
        "full_attention": {"partial_rotary_factor": 0.5, "rope_theta": 100000.0},
        "sliding_attention": {"rope_theta": 10000.0},
    },
)
_GEMMA4_SHARED = {**_GEMMA4, "num_kv_shared_layers": 2, "hidden_size_per_layer_input": 32}
_LONG_ROPE = {
    "type": "longrope",
    "short_factor": [1.0] * 8,
    "long_factor": [2.0] * 8,
    "original_max_position_embeddings": 128,
}

DENSE: dict[str, dict[str, Any]] = {
    # the last two blocks use the keys and values of an earlier one
    "afm7": config(
        "afm7",
        hidden_dim=WIDTH,
        num_layers=LAYERS,
        num_kv_reuse_layers=2,
        num_heads=4,
        num_kv_heads=2,
        hidden_dim_scale_factor=1.5,
    ),
    "apertus": config("apertus", mlp_bias=True, post_norm=True, qk_norm=True),
    "cohere": config("cohere", use_qk_norm=True, logit_scale=0.25),
    "cohere2": config("cohere2", sliding_window_pattern=2, logit_scale=0.25),
    "ernie4_5": config("ernie4_5"),
    "exaone": config("exaone", num_layers=LAYERS),
    "exaone4": config("exaone4", sliding_window_pattern="LLGL"),
    "gemma": config("gemma"),
    "gemma2": config("gemma2", query_pre_attn_scalar=16.0),
    "gemma3": wrapped("gemma3", config("gemma3_text", sliding_window_pattern=2, query_pre_attn_scalar=16)),
    "gemma3_text": config("gemma3_text", sliding_window_pattern=2, query_pre_attn_scalar=16),
    "gemma4": wrapped("gemma4", _GEMMA4_SHARED),
    "gemma4_text": _GEMMA4,
    # the last two blocks use the keys and values of earlier ones
    "gemma4_text/shared": _GEMMA4_SHARED,
    "glm": config("glm"),
    "glm4": config("glm4", partial_rotary_factor=0.5),
    "gpt2": {"model_type": "gpt2", **_GPT2},
    "gpt_bigcode": {"model_type": "gpt_bigcode", **_GPT2},
    "gpt_bigcode/heads": {"model_type": "gpt_bigcode", **_GPT2, "multi_query": False},
    "gpt_neox": config("gpt_neox", rotary_emb_base=10000, rotary_pct=0.5),
    "gpt_neox/sequential": config("gpt_neox", rotary_emb_base=10000, rotary_pct=0.5, use_parallel_residual=False),
    "gptj": {"model_type": "gptj", **_GPT2, "rotary_dim": 8},
    "granite": config("granite", _SCALES),
    "helium": config("helium"),
    "hunyuan_v1_dense": config(
        "hunyuan_v1_dense", rope_scaling={"alpha": 100.0, "factor": 1.0, "type": "dynamic"}, use_qk_norm=True
    ),
    "internlm2": config("internlm2"),
    "internlm3": config("internlm3", qkv_bias=True),
    "lille-130m": config("lille-130m", block_size=256, n_embd=WIDTH, n_head=4, n_kv_heads=2, n_layer=LAYERS),
    "llama": config("llama"),
    "llama/llama3": config("llama", rope_scaling=LLAMA3, tie_word_embeddings=True),
    "llama/sliding": config("llama", layer_types=SLIDING, attention_bias=True, mlp_bias=True),
    "mimo": config("mimo"),
    "minicpm": config("minicpm", dim_model_base=32, scale_depth=1.4, scale_emb=2.0),
    "minicpm3": config("minicpm3", LATENT, rope_scaling=_LONG_ROPE, dim_model_base=32, scale_depth=1.4, scale_emb=2.0),
    "ministral3": config(
        "ministral3",
        layer_types=SLIDING,
        rope_parameters={
            **YARN,
            "rope_theta": 10000.0,
            "llama_4_scaling_beta": 0.1,
        },
    ),
    "mistral3": wrapped("mistral3", config("llama")),
    "mistral3/ministral3": wrapped(
        "mistral3",
        config(
            "ministral3",
            layer_types=SLIDING,
            rope_parameters={**YARN, "rope_theta": 10000.0, "llama_4_scaling_beta": 0.1},
        ),
    ),
    "muse_glimmer": config("muse_glimmer", layer_types=THREE_TO_ONE, post_norm_eps=1e-8, rope_theta=100.0),
    "nanbeige": config("nanbeige"),
    "nanochat": config("nanochat"),
    "nemotron": config("nemotron", hidden_act="relu2"),
    "nemotron-nas": config(
        "nemotron-nas",
        block_configs=[
            {"attention": {"n_heads_in_group": 2}, "ffn": {"ffn_mult": 1.3125}},
            {"attention": {"no_op": True}, "ffn": {"ffn_mult": 0.5}},
            {"attention": {"n_heads_in_group": 4}, "ffn": {"no_op": True}},
            {"attention": {"replace_with_linear": True}, "ffn": {"replace_with_linear": True}},
        ],
    ),
    "olmo2": config("olmo2"),
    "olmo3": config("olmo3", layer_types=THREE_TO_ONE),
    "openelm": config(
        "openelm",
        ffn_dim_divisor=32,
        ffn_multipliers=[0.5, 1.0, 1.5, 2.0],
        model_dim=WIDTH,
        num_kv_heads=[1, 1, 2, 2],
        num_query_heads=[2, 2, 4, 4],
        num_transformer_layers=LAYERS,
    ),
    "phi": config("phi", partial_rotary_factor=0.5),
    "phi3": config("phi3"),
    "phi3/long": config("phi3", rope_scaling=_LONG_ROPE, original_max_position_embeddings=128),
    "phixtral": config("phixtral", num_vocab=VOCABULARY, model_dim=WIDTH, num_heads=4, num_layers=LAYERS, rotary_dim=8),
    "pixtral": wrapped("pixtral", config("llama")),
    "plamo": config("plamo", n_shared_head=2),
    "plamo3": config("plamo3", window_size=WINDOW, sliding_window_pattern=2),
    "qwen": config("qwen", kv_channels=16, intermediate_size=192),
    "qwen2": config("qwen2"),
    "qwen2_vl": wrapped("qwen2_vl", config("qwen2")),
    "qwen3": config("qwen3", tie_word_embeddings=True),
    "qwen3/yarn": config("qwen3", rope_scaling=YARN),
    "qwen3_vl": wrapped("qwen3_vl", config("qwen3")),
    "seed_oss": config("seed_oss", attention_bias=True),
    "smollm3": config("smollm3", no_rope_layer_interval=2),
    "spark2_5": config(
        "spark2_5",
        layer_types=THREE_TO_ONE,
        rope_parameters={
            "sliding_attention": {"rope_theta": 10000.0, "partial_rotary_factor": 1.0},
            "full_attention": {"rope_theta": 100000.0, "partial_rotary_factor": 0.5},
        },
    ),
    "stablelm": config("stablelm", partial_rotary_factor=0.5, use_qkv_bias=False),
    "stablelm/parallel": config(
        "stablelm", partial_rotary_factor=1.0, use_qkv_bias=True, use_parallel_residual=True, qk_layernorm=True
    ),
    "starcoder2": config("starcoder2"),
    # each block adds the token's embedding once more
    "talkie": config("talkie"),
    "telechat3": config("telechat3"),
    "youtu_llm": config("youtu_llm", LATENT),
}
