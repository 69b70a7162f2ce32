"""Configurations of architectures with state-space, linear-attention or convolution blocks, alone or among others."""

from __future__ import annotations

from typing import Any

from support.architectures_common import LATENT, LINEAR, MOE, WIDTH, WINDOW, config, wrapped

_MAMBA2 = {
    "mamba_n_heads": 8,
    "mamba_d_head": 16,
    "mamba_proj_bias": False,
    "mamba_d_state": 16,
    "mamba_d_conv": 4,
    "mamba_n_groups": 2,
    "mamba_conv_bias": True,
}
_GRANITE = {
    "logits_scaling": 2.0,
    "attention_multiplier": 0.25,
    "embedding_multiplier": 2.0,
    "residual_multiplier": 0.5,
    "shared_intermediate_size": 96,
    "layer_types": ["mamba", "attention", "mamba", "attention"],
}
_LFM2: dict[str, Any] = {
    "conv_bias": False,
    "conv_L_cache": 3,
    "block_dim": WIDTH,
    "block_ff_dim": 96,
    "block_multiple_of": 32,
    "block_ffn_dim_multiplier": 1.0,
    "block_auto_adjust_ff_dim": False,
    "layer_types": ["conv", "full_attention", "conv", "full_attention"],
}
_NEMOTRON_H = config(
    "nemotron_h",
    mamba_num_heads=8,
    mamba_head_dim=16,
    mamba_proj_bias=False,
    ssm_state_size=16,
    conv_kernel=4,
    n_groups=2,
    use_conv_bias=True,
    time_step_limit=[0.001, 10.0],
)
_STATE_SPACE = {"state_size": 8, "conv_kernel": 4, "use_conv_bias": True, "time_step_rank": 4}
_PACKED = config(
    "qwen3_5",
    LINEAR,
    hidden_size=512,
    intermediate_size=512,
    num_attention_heads=8,
    head_dim=64,
    linear_key_head_dim=128,
    linear_value_head_dim=128,
)

HYBRID: dict[str, dict[str, Any]] = {
    "baichuan_m1": config("baichuan_m1", sliding_window_layers=[0, 2], conv_window=2),
    "bailing_hybrid": config(
        "bailing_hybrid",
        MOE,
        LATENT,
        layer_group_size=2,
        group_norm_size=2,
        moe_router_enable_expert_bias=True,
        score_function="sigmoid",
    ),
    "bailing_moe_linear": config(
        "bailing_moe_linear", MOE, num_key_value_heads=4, layer_group_size=2, group_norm_size=2, use_qk_norm=True
    ),
    "bailing_moe_v3": config("bailing_moe_v3", MOE, LATENT, layer_group_size=4, head_dim=32),
    "falcon_h1": config(
        "falcon_h1", _MAMBA2, mamba_d_ssm=128, mamba_n_groups=1, key_multiplier=0.5, lm_head_multiplier=0.5
    ),
    "gear": config(
        "gear",
        layer_types=["sliding_attention", "conv_mixer", "full_attention", "conv_mixer"],
        conv_L_cache=3,
    ),
    "granitemoehybrid": config("granitemoehybrid", MOE, _MAMBA2, _GRANITE, intermediate_size=32),
    "granitemoehybrid/dense": config("granitemoehybrid", _MAMBA2, _GRANITE),
    "jamba": config(
        "jamba",
        MOE,
        attn_layer_offset=1,
        attn_layer_period=2,
        expert_layer_offset=1,
        expert_layer_period=2,
        mamba_d_conv=4,
        mamba_d_state=16,
        mamba_expand=2,
    ),
    "kimi_linear": config(
        "kimi_linear",
        MOE,
        LATENT,
        linear_attn_config={
            "num_heads": 4,
            "head_dim": 32,
            "kda_layers": [1, 2, 3],
            "full_attn_layers": [4],
            "short_conv_kernel_size": 4,
        },
        model_max_length=256,
        num_experts_per_token=2,
    ),
    "lfm2": config("lfm2", _LFM2),
    "lfm2-vl": wrapped("lfm2-vl", config("lfm2", _LFM2)),
    "lfm2_moe": config("lfm2_moe", MOE, _LFM2, use_expert_bias=True, num_dense_layers=1),
    "mamba": config("mamba", _STATE_SPACE),
    "mamba/falcon": config("falcon_mamba", _STATE_SPACE, use_bcdt_rms=True),
    "mamba2": config(
        "mamba2",
        _STATE_SPACE,
        num_heads=8,
        head_dim=16,
        state_size=16,
        n_groups=2,
        intermediate_size=128,
        time_step_limit=(0.001, 10.0),
    ),
    "nemotron_h": {**_NEMOTRON_H, "hybrid_override_pattern": ["M", "-", "*", "-"]},
    "nemotron_h/experts": {
        **_NEMOTRON_H,
        **MOE,
        "hybrid_override_pattern": ["M", "E", "*", "E"],
        "moe_shared_expert_intermediate_size": 32,
    },
    "olmo_hybrid": config(
        "olmo_hybrid",
        LINEAR,
        linear_allow_neg_eigval=True,
        layer_types=["linear_attention", "linear_attention", "full_attention", "linear_attention"],
    ),
    "plamo2": config(
        "plamo2",
        hidden_size_per_head=16,
        attention_window_size=WINDOW,
        mamba_d_state=16,
        mamba_d_conv=4,
        mamba_num_heads=4,
        mamba_step=2,
    ),
    # some weights are packed in 2 bits
    "prism_hadamard_qwen35": wrapped(
        "prism_hadamard_qwen35",
        _PACKED,
        schema_version=1,
        tensor_namespace="mlx-lm-text",
        quantization={"bits": 2, "group_size": 128, "mode": "affine"},
        modules=[
            {"path": path, "block": 512, "embedding": path == "model.embed_tokens", "dtype": "float16"}
            for path in (
                "model.embed_tokens",
                "model.layers.0.linear_attn.in_proj_qkv",
                "model.layers.3.self_attn.o_proj",
            )
        ],
    ),
    "qwen3_5": wrapped("qwen3_5", config("qwen3_5", LINEAR)),
    "qwen3_5_moe": wrapped("qwen3_5_moe", config("qwen3_5_moe", MOE, LINEAR)),
    "qwen3_next": config("qwen3_next", MOE, LINEAR),
    "recurrent_gemma": config(
        "recurrent_gemma",
        conv1d_width=4,
        logits_soft_cap=20.0,
        attention_window_size=WINDOW,
        num_key_value_heads=1,
        block_types=["recurrent", "recurrent", "attention"],
    ),
    # later blocks use the values of the first one
    "rwkv7": config(
        "rwkv7", head_dim=32, a_low_rank_dim=32, v_low_rank_dim=32, gate_low_rank_dim=32, decay_low_rank_dim=32
    ),
}
