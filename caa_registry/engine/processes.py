"""Several processes on one job, started by ``mlx.launch -n N`` or MPI. One process alone is the first of one."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caa_registry import mx_thread, settings


def rank() -> int:
    """The number of this process, from 0: as MLX sees it, since a job's environment may name processes that do not
    work together."""
    group = _group()
    return 0 if group is None else int(group.rank())


def count() -> int:
    """How many processes work together."""
    group = _group()
    return 1 if group is None else int(group.size())


def _group() -> Any:
    """The group of processes, ``None`` where nobody started several."""
    return mx_thread.run(_joined) if settings.launched() else None


@functools.cache
def _joined() -> Any:
    from caa_registry.mx import mx

    return mx.distributed.init()


def from_first(values: NDArray[np.int32]) -> NDArray[np.int32]:
    """What process 0 passes. Every process calls this with an array of the same shape."""
    return mx_thread.run(_sum, values if rank() == 0 else np.zeros_like(values))


def _sum(values: NDArray[np.int32]) -> NDArray[np.int32]:
    from caa_registry.mx import mx

    return np.array(mx.distributed.all_sum(mx.array(values), group=_group(), stream=mx.cpu))


def gathered_rows(values: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
    """What each process passes, in order. Every process calls this with an array of the same shape."""
    return np.split(mx_thread.run(_gathered, values), count())


def _gathered(values: NDArray[Any]) -> NDArray[Any]:
    from caa_registry.mx import mx

    return np.array(mx.distributed.all_gather(mx.array(values), group=_group(), stream=mx.cpu))


def gathered_bytes(data: bytes) -> Sequence[bytes]:
    """What each process passes, in order. Every process calls this, with as many bytes as it has."""
    if count() == 1:
        return [data]
    lengths = np.zeros(count(), dtype=np.int32)
    lengths[rank()] = len(data)
    lengths = mx_thread.run(_sum, lengths)
    padded = np.zeros(-(-int(lengths.max()) // 4) + 1, dtype=np.int32)
    padded.view(np.uint8)[: len(data)] = np.frombuffer(data, np.uint8)
    # As numbers they pass through unchanged, whatever bits they have.
    each = np.split(mx_thread.run(_gathered, padded), count())
    return [part.tobytes()[:length] for part, length in zip(each, lengths, strict=True)]


def floats_from_first(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """What process 0 passes, bit by bit. Every process calls this with an array of the same shape."""
    return from_first(values.view(np.int32)).view(np.float32)


def wait_for_all() -> None:
    """Return once every process has called this."""
    if count() > 1:
        from_first(np.zeros(1, dtype=np.int32))
