"""Vector files of other tools, recognized by what is in them."""

from __future__ import annotations

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
from caa_registry.wording import named_layers

_MOST_FILES = 1000
_WITH_ROWS = ("axbench",)
# What lies in a folder of vectors and is none, by name and by ending.
_BESIDE = {
    *("license", "licence", "notice", "config.json", "generation_config.json", "adapter_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "metadata.jsonl"),
}
_TEXTS = {".md", ".txt", ".yaml", ".yml", ".sha256", ".py", ".png", ".csv"}


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
        part = (known or format_of(file)).read(file)
        if layer is not None and list(part.directions) != [layer]:
            raise file.error(
                f"it says itself that it has {named_layers(list(part.directions))}, and --layer says {layer}",
                "Leave --layer out.",
            )
        if row is not None and part.format not in _WITH_ROWS:
            raise file.error(f"a file of the format {part.format!r} has no rows to choose from", "Leave --row out.")
        parts.append(part)
    progress(len(paths), len(paths))
    return merged(parts) if len(parts) > 1 else parts[0]


def _vector_files(path: Path) -> list[Path]:
    """``path``, or where it is a folder the vector files in it, by name. What stands beside vectors (a README, a
    licence, a config, a sidecar of another file) is passed over, and so are hidden files and folders in it. Anything
    else is taken for a vector file, which reading then refuses or not. Raises ``InputError`` for a folder without
    one."""
    if not path.is_dir():
        return [path]
    with explained(path):
        files = sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
    names = {each.name for each in files}
    kept = [each for each in files if not _is_beside(each, names)]
    if not kept:
        raise InputError("it holds no vector file", "Name the files of a vector.", source=str(path))
    return kept


def _is_beside(path: Path, names: set[str]) -> bool:
    """Whether a file of a folder with ``names`` stands beside vectors, by its name, and is none."""
    name = path.name.lower()
    if name in _BESIDE or path.suffix.lower() in _TEXTS:
        return True
    own = path.name.removesuffix(path.suffix)
    about = [other for other in names if other != path.name and own in (other, other.removesuffix(Path(other).suffix))]
    return path.suffix.lower() == ".json" and bool(about)


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
    return file.error(
        f"it is {what}, and no vector file of a known layout",
        f"Known are: {', '.join(name for name, format in FORMATS.items() if format.reads)}.",
    )


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
