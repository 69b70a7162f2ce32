"""Configurations that must be refused: no one stream that a vector could be added to stands after their blocks."""

from __future__ import annotations

from typing import Any

from support.architectures_common import LATENT, MOE, SLIDING, VOCABULARY, config, wrapped

# Refused only where there is no Metal.
NEEDS_METAL: dict[str, dict[str, Any]] = {"bitnet": config("bitnet")}

REFUSED: dict[str, dict[str, Any]] = {
    "deepseek_v41": config(
        "deepseek_v41",
        MOE,
        num_hidden_layers=6,
        head_dim=32,
        q_lora_rank=32,
        qk_rope_head_dim=8,
        o_groups=2,
        o_lora_rank=16,
        sliding_window=4,
        scoring_func="sqrtsoftplus",
        compress_ratios=(0, 2, 2, 2, 1, 1),
        kv_source_layer_ids=(1, 4),
        index_source_layer_ids=(1, 2, 4, 5),
        index_n_heads=4,
        index_head_dim=32,
        index_topk=3,
        candidate_source_layer_id=4,
        candidate_topk_blocks=2,
        candidate_block_size=2,
    ),
    "gemma3n": wrapped(
        "gemma3n",
        config(
            "gemma3n",
            num_kv_shared_layers=2,
            vocab_size_per_layer_input=VOCABULARY,
            rope_local_base_freq=1000.0,
            final_logit_softcapping=30.0,
            layer_types=SLIDING,
            activation_sparsity_pattern=[0.5, 0.5, 0.0, 0.0],
            hidden_size_per_layer_input=32,
            altup_num_inputs=4,
            altup_coef_clip=100.0,
            altup_correct_scale=True,
            altup_active_idx=0,
            laurel_rank=32,
        ),
    ),
    "iquestloopcoder": config("iquestloopcoder", loop_num=2, loop_window_size=8),
    "kimi_k3": wrapped(
        "kimi_k3",
        config(
            "kimi_linear",
            MOE,
            LATENT,
            activation_situ_beta=4.0,
            activation_situ_linear_beta=25.0,
            linear_attn_config={
                "kda_layers": [1, 2, 3],
                "full_attn_layers": [4],
                "num_heads": 2,
                "head_dim": 32,
                "short_conv_kernel_size": 4,
                "gate_lower_bound": -5.0,
                "use_full_rank_gate": True,
            },
            mla_use_output_gate=True,
            num_experts_per_token=2,
            routed_expert_hidden_size=32,
            latent_moe_use_norm=True,
            attn_res_block_size=2,
        ),
    ),
    "muse_spark": wrapped(
        "muse_spark",
        config(
            "muse_spark",
            MOE,
            post_norm_eps=1e-8,
            rope_parameters={"rope_theta": 10000.0},
            layer_rope_theta=[10000.0] * 4,
            layer_types=SLIDING,
            final_logit_softcapping=20.0,
            output_multiplier=0.5,
            moe_hidden_size=64,
            mlp_layer_types=["sparse"] * 4,
            num_shared_experts=0,
        ),
    ),
    "nanbeige/loops": config("nanbeige", num_loops=2),
    "olmo": config("olmo", d_model=64, n_layers=4, n_heads=4, mlp_hidden_size=192, embedding_size=VOCABULARY),
    # the vocabulary's size is fixed: mlx-lm writes to tokens above 100,000, whatever the config says
    "phi3small": config(
        "phi3small",
        vocab_size=100352,
        hidden_size=32,
        head_dim=8,
        dense_attention_every_n_layers=2,
        ff_intermediate_size=32,
        gegelu_limit=20.0,
    ),
}
