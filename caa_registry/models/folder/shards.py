"""The weight files of a model folder: whether all are there, and what they hold together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from caa_registry.errors import ModelError
from caa_registry.models.folder.json_files import json_object
from caa_registry.models.folder.tensors import StoredTensor, stored_tensors

INDEX = "model.safetensors.index.json"
"""Lists, for weights in several files, which tensor is in which."""

Stored = Mapping[str, tuple[Path, StoredTensor]]
"""Tensors by name, each with the file that it is in."""

_PART = re.compile(r"(.*-)(\d+)(-of-)(\d+)(\.safetensors)")
# MLX reads no others.
_UNREADABLE = {"F4", "F8_E5M2", "F64"}
_AGAIN = "Fetch the model again."
# A whole index of a large model has some hundred thousand lines.
_LARGEST_INDEX = 64_000_000


def few(names: Iterable[str]) -> str:
    """Names in words: a few of many, and how many more there are."""
    all_names = sorted(names)
    shown, more = ", ".join(all_names[:3]), len(all_names) - 3
    return f"{shown} and {more:,} more" if more > 0 else shown


def weight_map(folder: Path) -> dict[str, str]:
    """Tensors to files, as the index of ``folder`` says; empty where there is none. Raises ``ModelError`` for an index
    that is broken."""
    path = folder / INDEX
    if not (path.exists() or path.is_symlink()):
        return {}
    named = json_object(path, largest=_LARGEST_INDEX).get("weight_map", {})
    if not isinstance(named, dict) or not all(isinstance(file, str) for file in named.values()):
        raise ModelError(f"{path}: its weight_map is not an object of file names", _AGAIN)
    if odd := {file for file in named.values() if Path(file).name != file}:
        raise ModelError(f"{path}: names files outside its folder: {few(odd)}", _AGAIN)
    return named


def total_size(folder: Path) -> int:
    """The bytes of the weights as the index of ``folder`` says, 0 where it does not."""
    about = json_object(folder / INDEX, largest=_LARGEST_INDEX).get("metadata") if (folder / INDEX).exists() else None
    total = about.get("total_size") if isinstance(about, dict) else None
    return total if isinstance(total, int) and total > 0 else 0


def stored_weights(folder: Path, files: Iterable[Path]) -> Stored:
    """The tensors in the weight ``files`` of ``folder`` by name, each with its file.

    Raises ``ModelError`` for a file that is missing, broken or unreadable, for a tensor that stands in two files, one
    of a dtype that MLX does not read, and where the index says otherwise.
    """
    names = {file.name for file in files}
    index = weight_map(folder)
    if missing := (set(index.values()) | _counted(names)) - names:
        others = {file for file in missing if (folder / file).is_file()}
        if others:
            raise ModelError(
                f"{folder / INDEX}: lists {few(others)}, and mlx-lm reads model*.safetensors only",
                "Use a version of the model that mlx-lm has written.",
            )
        raise ModelError(f"{folder}: weight files are missing: {few(missing)}", _AGAIN)
    found: dict[str, tuple[Path, StoredTensor]] = {}
    for file in files:
        for tensor in _tensors(file):
            if tensor.name in found:
                raise ModelError(
                    f"{folder}: the tensor {tensor.name} is in both {found[tensor.name][0].name} and {file.name}",
                    "Remove the file that does not belong to this model.",
                )
            if tensor.dtype in _UNREADABLE:
                raise ModelError(
                    f"{file}: the tensor {tensor.name} is {tensor.dtype}, which MLX does not read",
                    "Use a version of the model in 16 or 32 bits, or one that mlx-lm has quantized.",
                )
            found[tensor.name] = (file, tensor)
    if absent := {name for name, file in index.items() if name not in found or found[name][0].name != file}:
        name = min(absent)
        raise ModelError(
            f"{folder / INDEX}: {index[name]} does not hold the tensor {name} ({len(absent):,} such in all)", _AGAIN
        )
    return found


def _counted(names: Iterable[str]) -> set[str]:
    """The files that belong to those whose names count them (``model-00001-of-00003.safetensors``)."""
    all_names: set[str] = set()
    for part in filter(None, map(_PART.fullmatch, names)):
        head, number, of, last, tail = part.groups()
        if int(last) <= 10_000:
            all_names |= {f"{head}{i:0{len(number)}}{of}{last}{tail}" for i in range(1, int(last) + 1)}
    return all_names


def _tensors(file: Path) -> tuple[StoredTensor, ...]:
    try:
        return stored_tensors(file)
    except OSError as error:
        raise ModelError(f"{file}: cannot be read: {error.strerror or error}", _AGAIN) from error
