"""Files that are compressed with gzip or Zstandard, told by their first bytes and unpacked within bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from caa_registry.errors import InputError

SUFFIXES = (".gz", ".zst")

# What a file that unpacks to many times its size may come to: rows of text do not compress like that.
MAX_RATIO = 200
ALWAYS_ALLOWED = 32 * 1024 * 1024

_PIECE = 1024 * 1024
_CODECS: Mapping[bytes, str] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_NAMES: Mapping[str, str] = {"gzip": "gzip", "zstd": "Zstandard"}


def unpacked(data: bytes, label: str, limit: int) -> bytes:
    """``data`` unpacked, or as it is where it is not compressed.

    Raises ``InputError`` for a damaged file and for one that comes to more than ``limit`` bytes, or to more than
    ``ALWAYS_ALLOWED`` and ``MAX_RATIO`` times its own size.
    """
    codec = next((codec for start, codec in _CODECS.items() if data.startswith(start)), None)
    if codec is None:
        return data
    bound = min(limit, max(ALWAYS_ALLOWED, MAX_RATIO * len(data)))
    # Measured before any of it is kept, so that a file that unpacks without end takes no memory.
    size = 0
    for piece in _pieces(data, codec, label):
        size += len(piece)
        if size > bound:
            raise InputError(
                f"a {_NAMES[codec]} file of {len(data):,} bytes that unpacks to more than {bound // 2**20} MiB",
                "Split it into several files." if bound == limit else "Unpack it and look at what it holds.",
                source=label,
            )
    return b"".join(_pieces(data, codec, label))


def _pieces(data: bytes, codec: str, label: str) -> Iterator[bytes]:
    import pyarrow as pa

    try:
        with pa.input_stream(pa.BufferReader(data), compression=codec) as stream:
            while piece := stream.read(_PIECE):
                yield piece
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"a {_NAMES[codec]} file that cannot be unpacked: {error}",
            "It is damaged or was not loaded to its end: get it again.",
            source=label,
        ) from error
