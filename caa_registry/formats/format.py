"""What a vector file format is, and each by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from caa_registry.extensions import Extensions
from caa_registry.formats import safetensors_file
from caa_registry.vectors import VectorSet


@dataclass(frozen=True)
class Format:
    """A way to write a vector set as the bytes of one file.

    ``suffixes``: of file names, in lower case with the dot. ``sniff``: whether bytes are of this format; it raises
    nothing. ``read``: their vectors; ``IntegrityError`` where the bytes are damaged or of another format. ``write``:
    the bytes of vectors and of metadata that JSON can hold, the same for the same input in every process.
    """

    name: str
    suffixes: tuple[str, ...]
    sniff: Callable[[bytes], bool]
    read: Callable[[bytes], VectorSet]
    write: Callable[[VectorSet, Mapping[str, Any]], bytes]


SAFETENSORS = Format(
    "safetensors", (".safetensors",), safetensors_file.sniff, safetensors_file.read, safetensors_file.write
)
"""The format of the registry's own blobs."""

FORMATS: Extensions[Format] = Extensions("vector file format", {SAFETENSORS.name: SAFETENSORS})
