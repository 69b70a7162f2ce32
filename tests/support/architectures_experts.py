"""Configurations of architectures with attention and, in some blocks or all, a mixture of experts."""

from __future__ import annotations

from typing import Any

from support.architectures_common import (
    LATENT,
    LAYERS,
    MOE,
    SLIDING,
    THREE_TO_ONE,
    VOCABULARY,
    WIDTH,
    WINDOW,
    YARN,
    config,
    wrapped,
)

_INDEX = {"index_head_dim": 32, "index_n_heads": 2, "index_topk": 6}
_LONGCAT = config(
    "longcat_flash",
    LATENT,
    attention_method="MLA",
    zero_expert_type="identity",
    ffn_hidden_size=96,
    moe_topk=2,
    expert_ffn_hidden_size=32,
    n_routed_experts=4,
    zero_expert_num=2,
    num_layers=LAYERS,
    routed_scaling_factor=1.5,
    mla_scale_q_lora=True,
    mla_scale_kv_lora=True,
)
_LLAMA4 = config(
    "llama4",
    MOE,
    attention_chunk_size=WINDOW,
    interleave_moe_layer_step=2,
    intermediate_size_mlp=96,
    num_experts_per_tok=1,
    use_qk_norm=True,
)
_M3 = config(
    "minimax_m3_vl",
    MOE,
    intermediate_size=32,
    dense_intermediate_size=96,
    shared_intermediate_size=32,
    rotary_dim=8,
    moe_layer_freq=[0, 1, 0, 1],
)
_SCALES = {
    "logits_scaling": 2.0,
    "attention_multiplier": 0.25,
    "embedding_multiplier": 2.0,
    "residual_multiplier": 0.5,
}

EXPERTS: dict[str, dict[str, Any]] = {
    "Klear": config("Klear", MOE),
    "afmoe": config("afmoe", MOE, layer_types=SLIDING, num_dense_layers=1, n_group=1),
    "bailing_moe": config("bailing_moe", MOE, topk_group=1),
    "bailing_moe/groups": config(
        "bailing_moe",
        MOE,
        score_function="sigmoid",
        moe_router_enable_expert_bias=True,
        use_qk_norm=True,
        partial_rotary_factor=0.5,
    ),
    "dbrx": config(
        "dbrx",
        d_model=WIDTH,
        ffn_config={"ffn_hidden_size": 32, "moe_num_experts": 4, "moe_top_k": 2},
        attn_config={"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
        n_layers=LAYERS,
        n_heads=4,
    ),
    "deepseek": config("deepseek", MOE),
    "deepseek_v2": config("deepseek_v2", MOE, LATENT, rope_scaling=YARN, topk_method="greedy"),
    "deepseek_v3": config("deepseek_v3", MOE, LATENT, rope_scaling=YARN),
    # keys are chosen by an index once there are more than index_topk
    "deepseek_v32": config("deepseek_v32", MOE, LATENT, _INDEX, rope_scaling=YARN),
    "dots1": config("dots1", MOE),
    "ernie4_5_moe": config(
        "ernie4_5_moe", moe_num_experts=4, moe_intermediate_size=32, moe_k=2, moe_layer_start_index=1
    ),
    "exaone_moe": config("exaone_moe", MOE, layer_types=THREE_TO_ONE, is_moe_layer=[False, True, True, True]),
    "gemma4_text/experts": config(
        "gemma4_text",
        MOE,
        global_head_dim=16,
        layer_types=SLIDING,
        num_kv_shared_layers=0,
        hidden_size_per_layer_input=0,
        vocab_size_per_layer_input=VOCABULARY,
        enable_moe_block=True,
        top_k_experts=2,
    ),
    "glm4_moe": config("glm4_moe", MOE, use_qk_norm=True, partial_rotary_factor=0.5),
    "glm4_moe_lite": config("glm4_moe_lite", MOE, LATENT),
    "glm_moe_dsa": config("glm_moe_dsa", MOE, LATENT, _INDEX, rope_parameters={"rope_theta": 10000.0}),
    "gpt_oss": config("gpt_oss", MOE, intermediate_size=32, layer_types=SLIDING, rope_scaling=YARN),
    "granitemoe": config("granitemoe", MOE, _SCALES, intermediate_size=32),
    # every second block uses the keys and values of the one before
    "hunyuan": config(
        "hunyuan",
        MOE,
        moe_topk=2,
        num_shared_expert=1,
        use_mixed_mlp_moe=True,
        use_qk_norm=True,
        rope_scaling={"alpha": 100.0, "factor": 1.0, "type": "dynamic"},
        use_cla=True,
        cla_share_factor=2,
    ),
    "kimi_k25": wrapped("kimi_k25", config("deepseek_v3", MOE, LATENT)),
    "kimi_vl": wrapped("kimi_vl", config("deepseek_v3", MOE, LATENT)),
    "laguna": config(
        "laguna",
        MOE,
        layer_types=THREE_TO_ONE,
        mlp_layer_types=["dense", "sparse", "sparse", "sparse"],
        num_attention_heads_per_layer=[4, 2, 4, 4],
        moe_router_score_func="sqrtsoftplus",
        rope_parameters={
            "full_attention": {**YARN, "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0},
        },
    ),
    # attention within chunks of 8 tokens
    "llama4": wrapped("llama4", _LLAMA4),
    "llama4_text": config("llama4_text", intermediate_size_mlp=96, no_rope_layers=[1, 1, 0, 1], use_qk_norm=True),
    "longcat_flash": _LONGCAT,
    "longcat_flash_ngram": {**_LONGCAT, "model_type": "longcat_flash_ngram", "ngram_vocab_size_ratio": 4},
    "mellum": config(
        "mellum",
        MOE,
        layer_types=SLIDING,
        rope_parameters={
            "full_attention": {**YARN, "rope_theta": 10000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
    ),
    "mimo_v2_flash": config(
        "mimo_v2_flash",
        MOE,
        hybrid_layer_pattern=[0, 1, 0, 1],
        moe_layer_freq=[0, 1, 0, 1],
        add_swa_attention_sink_bias=True,
        add_full_attention_sink_bias=False,
        sliding_window_size=WINDOW,
        layernorm_epsilon=1e-5,
        swa_rope_theta=1000.0,
        swa_num_attention_heads=4,
        swa_num_key_value_heads=2,
        v_head_dim=8,
        swa_head_dim=16,
        swa_v_head_dim=8,
        partial_rotary_factor=0.5,
        attention_value_scale=0.7,
    ),
    "minimax": config("minimax", MOE, rotary_dim=8, shared_intermediate_size=32, intermediate_size=32),
    "minimax_m3_vl": wrapped("minimax_m3_vl", _M3),
    # keys are chosen by blocks once there are more than fit
    "minimax_m3_vl/sparse": wrapped(
        "minimax_m3_vl",
        {
            **_M3,
            "layer_types": ["full_attention", "minimax_m3_sparse", "minimax_m3_sparse", "full_attention"],
            "index_n_heads": 2,
            "index_head_dim": 16,
            "index_block_size": 4,
            "index_topk_blocks": 2,
            "index_local_blocks": 1,
        },
    ),
    "mistral4": config(
        "mistral4", MOE, LATENT, rope_parameters={**YARN, "rope_theta": 10000.0, "llama_4_scaling_beta": 0.1}
    ),
    "mixtral": config("mixtral", MOE, intermediate_size=32),
    "olmoe": config("olmoe", MOE, intermediate_size=32),
    "phimoe": config(
        "phimoe",
        MOE,
        intermediate_size=32,
        rope_scaling={
            "type": "longrope",
            "short_factor": [1.0] * 8,
            "long_factor": [2.0] * 8,
            "short_mscale": 1.2,
            "long_mscale": 1.2,
            "original_max_position_embeddings": 128,
        },
    ),
    "qwen2_moe": config("qwen2_moe", MOE),
    "qwen3_moe": config("qwen3_moe", MOE),
    "qwen3_vl_moe": wrapped("qwen3_vl_moe", config("qwen3_moe", MOE)),
    "solar_open": config("solar_open", MOE, partial_rotary_factor=1.0, use_qk_norm=True),
    "step3p5": config(
        "step3p5",
        num_attention_groups=2,
        rope_theta=[10000.0] * LAYERS,
        layer_types=SLIDING,
        partial_rotary_factors=[1.0, 0.5, 1.0, 0.5],
        attention_other_setting={"num_attention_heads": 8, "num_attention_groups": 2},
        moe_num_experts=4,
        moe_top_k=2,
        moe_intermediate_size=32,
        share_expert_dim=32,
        moe_layers_enum="1,2,3",
    ),
}
