"""Rows of Arrow tables, made a few at a time and within a bound: a value may stand for many times its bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from caa_registry.errors import InputError
from caa_registry.pairs.sources.compression import ALWAYS_ALLOWED, MAX_RATIO
from caa_registry.pairs.sources.rows import Row

BATCH = 256
# What a value of a list takes at least.
_POINTER = 8


class ArrowRows:
    """The rows of batches that were read from ``size`` bytes, numbered through. ``label`` names the file in errors."""

    def __init__(self, size: int, label: str) -> None:
        self._left = self._bound = most_decoded(size)
        self._label = label
        self._number = 0

    def of(self, batch: Any) -> Iterator[Row]:
        """The rows of ``batch``, of ``BATCH`` rows at most. ``InputError`` where those so far come to more than may be
        made of so many bytes."""
        self.count(batch)
        for values in batch.to_pylist():
            self._number += 1
            yield Row(self._number, values)

    def count(self, batch: Any) -> None:
        """Count what the rows of ``batch`` come to, without making them."""
        self._left -= decoded_size(batch)
        if self._left < 0:
            raise InputError(
                f"its rows come to more than {self._bound >> 20} MiB, more than a table of its size holds",
                "Look at what it holds: texts or lists that repeat without end.",
                source=self._label,
            )


def most_decoded(size: int) -> int:
    """What a table of ``size`` bytes may come to, as for compressed files."""
    return max(ALWAYS_ALLOWED, MAX_RATIO * size)


def decoded_size(batch: Any) -> int:
    """Bytes of the values in ``batch``, those that it repeats as often as it does."""
    return sum(_decoded(column) for column in batch.columns)


def _decoded(array: Any) -> int:
    """Bytes of the values of ``array`` with those that it repeats."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return _decoded(array.storage)
    if pa.types.is_dictionary(kind):
        if not (pa.types.is_string(kind.value_type) or pa.types.is_binary(kind.value_type)):
            raise ValueError(f"a column of {kind}")
        lengths = pc.binary_length(array.dictionary).take(array.indices)
        return int(pc.sum(lengths).as_py() or 0) + _POINTER * len(array)
    if pa.types.is_struct(kind):
        return sum(_decoded(field) for field in array.flatten())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _decoded(array.flatten()) + _POINTER * len(array)
    if pa.types.is_map(kind):
        entries = pa.ListArray.from_arrays(array.offsets, pa.StructArray.from_arrays([array.keys, array.items], "ki"))
        return _decoded(entries)
    if pa.types.is_nested(kind) or kind in (pa.string_view(), pa.binary_view()):
        raise ValueError(f"a column of {kind}")
    return int(array.nbytes) + _POINTER * len(array)
