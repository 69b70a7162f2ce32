"""``add``, the operator of contrastive activation addition::

    h' = h + delta

Rimsky et al., "Steering Llama 2 via Contrastive Activation Addition", ACL 2024.
"""

from __future__ import annotations

from caa_registry.mx import mx


def add(hidden: mx.array, delta: mx.array) -> mx.array:
    """``hidden`` plus ``delta``. See ``operator.Operator`` for the arguments."""
    # Cast the delta, not the stream: a float32 delta would widen a bfloat16 stream and its cache.
    return hidden + delta.astype(hidden.dtype)
