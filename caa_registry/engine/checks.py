"""Texts of which only the blocks above a steered layer are run: how they are entered, and how that is checked.

What an architecture computes in this way must be what it computes of whole texts; where it is not, whole texts are run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from caa_registry.errors import ModelError
from caa_registry.models.model import Model
from caa_registry.mx import mx

# Largest difference of a log-probability, relative to the largest: rounding, with room.
_TOLERANCE = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}


class DifferentError(Exception):
    """An architecture computes something else in this way: its texts have to be run whole."""


@contextmanager
def entered(model: Model, layer: int, hidden: mx.array) -> Iterator[None]:
    """The next call of the network begins behind ``layer``, with the stream ``hidden``.

    Raises ``DifferentError`` where its blocks hand on more than the stream, or fail on a cache that they left empty.
    """
    try:
        with model.stream.entered(layer, hidden):
            yield
    except ModelError as error:
        raise DifferentError(error.message) from None
    except (AttributeError, TypeError, ValueError, IndexError) as error:
        raise DifferentError(f"{model.info.architecture} cannot be entered behind layer {layer}: {error}") from error


def tolerance(dtype: str, log_p: NDArray[np.floating]) -> float:
    """The largest difference of log-probabilities from ``log_p``, all finite, that is rounding in ``dtype``."""
    return _TOLERANCE.get(dtype, 1e-4) * max(1.0, float(np.abs(log_p).max()))


def check_alike(model: Model, log_p: NDArray[np.float64], expected: NDArray[np.float64], when: str) -> None:
    """Raise ``DifferentError`` where log-probabilities differ by more than rounding. Values that are not finite are the
    model's, and are reported where they become a score."""
    if np.isfinite(expected).all() and not np.abs(log_p - expected).max() <= tolerance(model.dtype, expected):
        raise DifferentError(f"{model.info.architecture} computes differently when {when}")
