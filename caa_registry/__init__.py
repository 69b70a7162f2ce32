"""CAA Registry: contrastive pairs, steering vectors and their scores in one catalogue.

The public names are imported when first used (PEP 562), so that ``import caa_registry`` costs next to nothing
and brings in neither MLX nor SQLAlchemy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from caa_registry.package import __version__ as __version__

if TYPE_CHECKING:
    from caa_registry.errors import CaaError as CaaError
    from caa_registry.registry.evaluations.evaluations import best_layer as best_layer
    from caa_registry.registry.records import Recommendation as Recommendation
    from caa_registry.registry.registry import Registry as Registry
    from caa_registry.registry.registry import open as open
    from caa_registry.registry.vectors.steering import Steer as Steer

_PUBLIC = {
    "CaaError": "caa_registry.errors",
    "best_layer": "caa_registry.registry.evaluations.evaluations",
    "Recommendation": "caa_registry.registry.records",
    "Registry": "caa_registry.registry.registry",
    "Steer": "caa_registry.registry.vectors.steering",
    "open": "caa_registry.registry.registry",
}

__all__ = sorted([*_PUBLIC, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'caa_registry' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return __all__
