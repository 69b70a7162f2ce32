"""Architectures of which not everything tested holds, with the reasons of docs/tested-architectures.md."""

from __future__ import annotations

MLX_LM = "0.32.2"
"""The version of mlx-lm whose architectures these are."""

NOT_ON_A_CPU = {
    "bitnet": "its linear layers are Metal kernels",
}
"""Neither tested nor refused: on a CPU they do not run at all."""

REFUSED_BY_THE_SELF_TEST = {
    "nanbeige": "where `num_loops` is above 1, it runs its blocks several times",
    "olmo": "mlx-lm cannot run it on more than one token",
}
"""Refused because of what the self-test finds, beside those that the package refuses by name."""

NOT_QUANTIZED = {
    "afm7": "mlx-lm cannot quantize its fused layers",
    "prism_hadamard_qwen35": "it is quantized as it is, in 2 bits",
}

RECOMPUTED_DIFFERS = {
    "plamo3": "mlx-lm's sliding window spans one token more in a whole text than with a cache",
}
"""Generation with a cache differs from running the whole text again, steered or not."""

ONE_LENGTH = {
    "afm7": "its last blocks count positions by the width of the cache, padding included",
    "gemma2": "its attention takes no mask that differs between rows",
    "gpt_bigcode": "it takes positions from one count for all rows",
    "longcat_flash_ngram": "n-grams of a prompt that is shorter than they are cannot be joined with others",
    "minimax_m3_vl": "its sparse attention chooses blocks of the cache, which padding moves",
    "plamo3": "mlx-lm's sliding window spans one token more in a whole text than with a cache",
}
"""Answers to prompts of several lengths cannot be decoded in one batch."""

BESIDE_THE_STREAM = {
    "afm7": "its last blocks use the keys and values of an earlier one",
    "gemma4": "its last blocks may use the keys and values of earlier ones; blocks get embeddings of their own",
    "gemma4_text": "its last blocks may use the keys and values of earlier ones; blocks get embeddings of their own",
    "hunyuan": "blocks may use the keys and values of the block before",
    "rwkv7": "all blocks use the values of the first one",
    "talkie": "each block adds the embedding of the token once more",
}
"""Blocks get something beside the residual stream. What is added to the stream does not change that."""

NOT_ENTERED = BESIDE_THE_STREAM.keys() - {"talkie"}
"""A sweep cannot begin behind a block: later ones need what it hands on. Every text is run whole."""
