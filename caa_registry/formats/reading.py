"""Vector files of other tools, recognized by what is in them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from caa_registry.disk import explained
from caa_registry.errors import CaaError, InputError, UsageError
from caa_registry.formats import archive, text
from caa_registry.formats.format import FORMATS, Format
from caa_registry.formats.gguf import container
from caa_registry.formats.imported import ImportedVectors, merged
from caa_registry.formats.tensor_files.tensor_header import layout
from caa_registry.formats.torch_file.saved import LEGACY_MAGIC, described
from caa_registry.formats.vector_file import VectorFile, open_file
from caa_registry.progress import Progress, silent

_MOST_FILES = 1000
_log = logging.getLogger(__name__)


def read_vectors(
    paths: Sequence[Path],
    *,
    format: str | None = None,
    layer: int | None = None,
    row: int | None = None,
    progress: Progress = silent,
) -> ImportedVectors:
    """The vector in ``paths``: one file, or several that hold its layers. A folder stands for its vector files.

    ``format``: a name in ``FORMATS``, else it is told from the content. ``layer``, ``row``: see ``VectorFile``.
    ``progress`` counts files. Raises ``InputError`` naming file and field, ``NotFoundError``, and ``UsageError`` for
    options that do not fit.
    """
    paths = [file for path in paths for file in _vector_files(path)]
    if not paths or len(paths) > _MOST_FILES:
        raise UsageError(f"{len(paths):,} files were named", f"Name 1 to {_MOST_FILES:,}.")
    if layer is not None and (len(paths) > 1 or layer < 0):
        raise UsageError("--layer is of one file, and counts from 0", "Name one file, or leave it out.")
    if row is not None and row < 0:
        raise UsageError("--row counts from 0", "Give the number of the row.")
    known = FORMATS.named(format) if format is not None else None
    parts = []
    for done, path in enumerate(paths):
        progress(done, len(paths))
        file = open_file(path, layer=layer, row=row)
        parts.append((known or format_of(file)).read(file))
    progress(len(paths), len(paths))
    return merged(parts) if len(parts) > 1 else parts[0]


def _vector_files(path: Path) -> list[Path]:
    """``path``, or where it is a folder the vector files in it, by name. Its texts that are none (a README, a model's
    config) are passed over, which a warning says; so are hidden files and folders in it. Anything else is taken for a
    vector file, which reading then refuses or not. Raises ``InputError`` for a folder without one."""
    if not path.is_dir():
        return [path]
    with explained(path):
        files = sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
    passed_over = [each for each in files if _is_other_text(each)]
    kept = [each for each in files if each not in passed_over]
    if not kept:
        raise InputError("it holds no vector file", "Name the files of a vector.", source=str(path))
    if passed_over:
        _log.warning("Passed over in %s: %s.", path, ", ".join(each.name for each in passed_over))
    return kept


def _is_other_text(path: Path) -> bool:
    file = open_file(path)
    try:
        file.data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\0" not in file.data and not any(format.sniff(file) for format in FORMATS.values())


def format_of(file: VectorFile) -> Format:
    """The format of ``file``, by its content and never by its name. Raises ``InputError`` for a damaged file, and for
    one that no format or more than one takes for its own."""
    found = [format for format in FORMATS.values() if format.sniff(file)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(format.name for format in found)
        raise file.error(f"it may be of several formats: {names}", "Say which one: --format.")
    raise _unknown(file)


def _unknown(file: VectorFile) -> CaaError:
    """What is wrong with a file that no format takes."""
    try:
        what = _what(file)
    except InputError as error:
        return error
    return file.error(f"it is {what}, and no vector file of a known layout", f"Known are: {', '.join(FORMATS)}.")


def _what(file: VectorFile) -> str:
    data = file.data
    if not data:
        return "empty"
    if data.startswith(b"version https://git-lfs.github.com/spec/"):
        return "a Git LFS pointer, which stands for the file itself"
    if data.startswith(container.MAGIC):
        names = [tensor.name for tensor in file.once(container.parsed).tensors]
        return f"a GGUF file with the tensors {', '.join(names[:3]) or 'none'}"
    if data.startswith(archive.MAGIC) or data[:4] == b"PK\x05\x06":
        entries = file.once(archive.opened).entries
        if any(name.endswith("/data.pkl") for name in entries):
            return f"a torch file that holds {described(file)}"
        return f"a zip archive with {', '.join(list(entries)[:3]) or 'nothing'}"
    if LEGACY_MAGIC in data[:64]:
        return "a torch file of the form before 1.6; load it in torch and save it again"
    if data[:1] == b"\x80" and data[1:2] in b"\x02\x03\x04\x05":
        return "a Python pickle, which can run code; load it where you trust it and torch.save the dict of its tensors"
    if text.looks_like_json(file):
        return f"JSON with the keys {', '.join(list(file.once(text.json_file))[:5]) or 'none'}"
    if len(data) >= 9 and data[8:9] == b"{":
        return f"safetensors with the tensors {', '.join(list(file.once(layout).tensors)[:3]) or 'none'}"
    return "of no known kind"
