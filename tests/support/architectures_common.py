"""What the configurations of most architectures share. Keys an architecture does not know are dropped by mlx-lm."""

from __future__ import annotations

from typing import Any

LAYERS = 4
VOCABULARY = 160
WIDTH = 64
WINDOW = 8

SLIDING = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]
THREE_TO_ONE = ["sliding_attention"] * 3 + ["full_attention"]

YARN: dict[str, Any] = {
    "type": "yarn",
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 32,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
}
LLAMA3: dict[str, Any] = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}

ATTENTION: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "rms_norm_eps": 1e-5,
    "layer_norm_eps": 1e-5,
    "layer_norm_epsilon": 1e-5,
    "norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "mlp_bias": False,
    "use_bias": False,
    "rope_scaling": None,
    "sliding_window": WINDOW,
}

MOE: dict[str, Any] = {
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "num_shared_experts": 1,
    "n_shared_experts": 1,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "moe_shared_expert_intermediate_size": 32,
    "norm_topk_prob": True,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [0],
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "n_group": 2,
    "topk_group": 1,
    "routed_scaling_factor": 1.5,
    "scoring_func": "sigmoid",
    "topk_method": "noaux_tc",
}

LATENT: dict[str, Any] = {
    "num_key_value_heads": 4,
    "kv_lora_rank": 32,
    "q_lora_rank": 32,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 32,
    "v_head_dim": 32,
}

LINEAR: dict[str, Any] = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_conv_kernel_dim": 4,
    "full_attention_interval": 2,
    "partial_rotary_factor": 0.5,
}


def config(model_type: str, *parts: dict[str, Any], **own: Any) -> dict[str, Any]:
    """The configuration of ``model_type`` from shared parts, of which later ones win, and its own keys."""
    merged: dict[str, Any] = {"model_type": model_type, **ATTENTION}
    for part in parts:
        merged.update(part)
    return {**merged, **own}


def wrapped(model_type: str, text: dict[str, Any], **own: Any) -> dict[str, Any]:
    """The configuration of a model that keeps its text part in ``text_config``."""
    return {"model_type": model_type, "vocab_size": VOCABULARY, "text_config": text, **own}
