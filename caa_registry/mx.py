"""The way to MLX: every module of the package that uses MLX imports it from here, after a fast BLAS is bound."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_map, tree_unflatten

from caa_registry.blas import bind

__all__ = ["mx", "nn", "tree_flatten", "tree_map", "tree_unflatten"]

bind()
