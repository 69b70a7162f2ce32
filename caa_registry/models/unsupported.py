"""Architectures that are refused by name, although their blocks could be tapped or are not even run.

The self-test of the residual stream sees shapes and calls, not meaning: for these a vector would be wrong or ambiguous.
"""

from __future__ import annotations

UNSUPPORTED: dict[str, str] = {
    "deepseek_v41": "its blocks pass on several parallel streams, and none of them is the residual stream",
    "gemma3n": "its blocks pass on several parallel streams, and none of them is the residual stream",
    "iquestloopcoder": "it runs its blocks twice, and by their parts, so that there is no one activation of a layer",
    "kimi_k3": "what its blocks pass on is a partial sum, which each block mixes anew with sums of earlier blocks",
    "muse_spark": "each block also passes on the next one's normalized input, which an addition would not reach",
    "phi3small": "its attention in mlx-lm sees later tokens, so what is read at a token depends on what follows it",
}
"""Architecture, as mlx-lm names its module, to the reason. docs/tested-architectures.md lists the same."""
