"""Mappings: how the rows of a public dataset become pairs, saved as YAML.

::

    name: mmlu
    repos: [cais/mmlu]          # used automatically for imports from these
    documentation: the dataset card
    licence: MIT                # if the source states none
    split: test                 # for rows that name none
    files:                      # the first that matches the file's name in its repository
      - match: "*"
        rows: choices
        question: question
        choices: choices        # a name with dots reaches into a column: mc1_targets.choices
        answer: answer          # an index from 0 or a letter; or labels: a list with a 1 at the right choice
        category: subject

``rows`` is one of

- ``columns``: ``positive``, ``negative``, and where there are any ``prompt`` and ``system`` name columns;
- ``choices``: an A/B item of the right choice and one of the others, in the layout of the CAA paper;
- ``answers``: ``question``, the ``right`` answer, and one of a list of ``wrong`` ones, as a free-form pair;
- ``filled``: ``text`` with its ``blank`` filled by the ``positive`` and the ``negative`` of its ``options``, by index;
- ``caa``, ``anthropic``, ``multiple-choice``: that format.

Where one of several wrong answers, or the order of letters, has to be chosen, the digest of the texts decides: the same
everywhere, whatever the order of rows.
"""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caa_registry.digests import digest_object
from caa_registry.errors import InputError, NotFoundError, UsageError, one_line
from caa_registry.package import ASSETS
from caa_registry.pairs.answers import ab
from caa_registry.pairs.record import Pair, check_split_name
from caa_registry.pairs.sources.files import SourceData, decoded, read_file
from caa_registry.pairs.sources.rows import Row, listed
from caa_registry.pairs.yaml_text import yaml_value

FORMAT_ROWS = ("caa", "anthropic", "multiple-choice")

# Of each kind of rows the fields that it needs, and those that it may have.
_FIELDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "columns": (("positive", "negative"), ("prompt", "system", "category")),
    "choices": (("question", "choices"), ("answer", "labels", "category")),
    "answers": (("question", "right", "wrong"), ("category",)),
    "filled": (("text", "blank", "options", "positive", "negative"), ("category",)),
    **dict.fromkeys(FORMAT_ROWS, ((), ())),
}
_TOP = ("name", "repos", "documentation", "licence", "split", "files")


@dataclass(frozen=True)
class SavedMapping:
    """A mapping as it was read. ``files``: of each part the pattern of file names, and how its rows are read."""

    name: str
    repos: Sequence[str]
    documentation: str
    licence: str
    split: str | None
    files: Sequence[Mapping[str, Any]]

    @property
    def digest(self) -> str:
        """The identity of what it does to rows."""
        return digest_object("mapping", {"split": self.split, "files": [dict(part) for part in self.files]})

    def as_json(self) -> dict[str, Any]:
        """What a dataset version records of it: enough to read the source again."""
        files = [dict(part) for part in self.files]
        return {"name": self.name, "digest": self.digest, "split": self.split, "files": files}

    def part(self, file: str) -> Mapping[str, Any]:
        """How the rows of ``file`` are read. Raises ``UsageError`` where it has nothing for it, or refuses it."""
        for part in self.files:
            if fnmatch.fnmatchcase(file, part["match"]) or fnmatch.fnmatchcase(f"/{file}", f"*/{part['match']}"):
                if "refuse" in part:
                    raise UsageError(f"{file} cannot be read as pairs: {part['refuse']}", "Choose another file.")
                return part
        patterns = listed(str(part["match"]) for part in self.files)
        raise UsageError(f"the mapping {self.name} does not cover {file}", f"It covers {patterns}.")


def shipped() -> list[SavedMapping]:
    """The mappings that come with the package, by name."""
    folder = ASSETS / "mappings"
    return [read_mapping(path.read_text(encoding="utf-8"), path.name) for path in sorted(folder.glob("*.yaml"))]


def for_repo(repo: str) -> SavedMapping | None:
    """The shipped mapping of a hub repository."""
    return next((mapping for mapping in shipped() if repo in mapping.repos), None)


def find_mapping(name: str) -> SavedMapping:
    """The shipped mapping of that name, or the one in the file ``name``. Raises ``NotFoundError``, ``InputError``, or
    ``UsageError`` for what is no file."""
    if name.endswith((".yaml", ".yml")):
        try:
            return read_mapping(decoded(read_file(Path(name))), name)
        except NotFoundError as error:
            raise NotFoundError(f"the mapping {one_line(name, 400)} cannot be read", "Give a YAML file.") from error
    known = {mapping.name: mapping for mapping in shipped()}
    if name not in known:
        raise NotFoundError(f"there is no mapping {name!r}", f"There are {', '.join(known)}; or give a .yaml file.")
    return known[name]


def read_mapping(text: str, source: str) -> SavedMapping:
    """The mapping of a YAML text, checked. Raises ``InputError`` naming the field."""
    return mapping_of(yaml_value(text, source), source)


def mapping_of(value: Any, source: str) -> SavedMapping:
    """The mapping that JSON says, whoever wrote it. Raises ``InputError`` naming the field."""

    def bad(message: str, field: str) -> InputError:
        return InputError(message, "docs/datasets-hub.md describes mappings.", source=source, field=field)

    if not isinstance(value, dict):
        raise bad("a mapping is an object with fields", "")
    value = {key: given for key, given in value.items() if key != "digest"}
    for key in value:
        if key not in _TOP:
            raise bad(f"there is no such field; fields: {', '.join(_TOP)}", str(key))
    for key in ("name", "documentation", "licence"):
        if not isinstance(value.get(key, ""), str):
            raise bad("has to be a text", key)
    split = value.get("split")
    if split is not None:
        if not isinstance(split, str):
            raise bad("has to be a text", "split")
        check_split_name(split)
    repos, files = value.get("repos", []), value.get("files")
    if not isinstance(repos, list) or not all(isinstance(repo, str) for repo in repos):
        raise bad("has to be a list of repositories", "repos")
    if not isinstance(files, list) or not files:
        raise bad("has to be a list with an entry for each kind of file", "files")
    for i, part in enumerate(files):
        _check_part(part, f"files[{i}]", bad)
    return SavedMapping(
        value.get("name", ""), repos, value.get("documentation", ""), value.get("licence", ""), split, files
    )


def _check_part(part: Any, field: str, bad: Any) -> None:
    if not isinstance(part, dict) or not isinstance(part.get("match"), str):
        raise bad("has to say which files it matches", f"{field}.match")
    if "refuse" in part:
        if set(part) != {"match", "refuse"} or not isinstance(part["refuse"], str):
            raise bad("has to be the reason; the part has no other field than match", f"{field}.refuse")
        return
    kind = str(part.get("rows"))
    if kind not in _FIELDS:
        raise bad(f"has to be one of {', '.join(_FIELDS)}", f"{field}.rows")
    needed, possible = _FIELDS[kind]
    for key in needed:
        if key not in part:
            raise bad(f"rows of {kind} need it", f"{field}.{key}")
    for key, given in part.items():
        if key not in ("match", "rows", *needed, *possible):
            raise bad(f"rows of {kind} have no such field", f"{field}.{key}")
        expected: type = int if kind == "filled" and key in ("positive", "negative") else str
        if type(given) is not expected:
            raise bad(f"has to be {'a number' if expected is int else 'a text'}", f"{field}.{key}")
    if kind == "choices" and ("answer" in part) == ("labels" in part):
        raise bad("either answer or labels has to name the right choice", f"{field}.answer")


def mapped(rows: Iterator[Row], part: Mapping[str, Any], file: SourceData) -> Iterator[Row]:
    """``rows`` with the columns ``prompt``, ``positive``, ``negative``, ``system`` and ``category``, and those that the
    mapping does not use. Raises ``InputError`` naming row and field."""
    make = {"columns": _columns, "choices": _choices, "answers": _answers, "filled": _filled}[part["rows"]]
    for row in rows:
        reader = _Reader(row, file)
        values = make(reader, part)
        if "category" in part:
            values["category"] = reader.value(part["category"])
        beside = {name: value for name, value in row.values.items() if name not in reader.used and name not in values}
        yield Row(row.number, {**beside, **values})


class _Reader:
    """The values of a row, by name or by a path with dots; ``used`` are the columns that were asked for."""

    def __init__(self, row: Row, file: SourceData) -> None:
        self.row = row
        self.used: set[str] = set()
        self._file = file

    def bad(self, message: str, hint: str, field: str) -> InputError:
        return InputError(message, hint, source=self._file.label, row=self.row.number, field=field)

    def value(self, path: str) -> Any:
        column, *inside = path.split(".") if path not in self.row.values else [path]
        if column not in self.row.values:
            columns = listed(self.row.values)
            raise self.bad(f"the field is missing; columns: {columns}", "The mapping is for other rows.", column)
        self.used.add(column)
        value = self.row.values[column]
        for key in inside:
            if not isinstance(value, dict) or key not in value:
                raise self.bad(f"it holds no {key!r}", "The mapping is for other rows.", path)
            value = value[key]
        return value

    def text(self, path: str) -> str:
        value = self.value(path)
        if not isinstance(value, str):
            raise self.bad("not a text", "The mapping is for other rows.", path)
        return value

    def texts(self, path: str) -> list[str]:
        value = self.value(path)
        if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
            raise self.bad("not a list of texts", "The mapping is for other rows.", path)
        return value


def _columns(reader: _Reader, part: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {"prompt": reader.text(part["prompt"]) if "prompt" in part else ""}
    values |= {side: reader.text(part[side]) for side in ("positive", "negative")}
    if "system" in part:
        values["system"] = reader.value(part["system"]) or ""
    return values


def _choices(reader: _Reader, part: Mapping[str, Any]) -> dict[str, Any]:
    question, options = reader.text(part["question"]).strip(), reader.texts(part["choices"])
    place = _right(reader, part, len(options))
    right = options[place].strip()
    wrong = _one(question, right, [option.strip() for i, option in enumerate(options) if i != place], reader, part)
    first = hashlib.sha256(f"letter\0{question}\0{right}\0{wrong}".encode()).digest()[0] % 2 == 0
    pair = ab(Pair(question, right, wrong), positive_first=first)
    return {"prompt": pair.prompt, "positive": pair.positive, "negative": pair.negative}


def _right(reader: _Reader, part: Mapping[str, Any], n: int) -> int:
    field = part.get("answer") or part["labels"]
    value = reader.value(field)
    if "labels" in part:
        if not isinstance(value, list) or [label for label in value if label] != [1] or len(value) != n:
            raise reader.bad("not a list with a 1 at the right choice", "The mapping is for other rows.", field)
        return value.index(1)
    if isinstance(value, str) and len(value) == 1 and "A" <= value <= "Z":
        value = ord(value) - ord("A")
    if type(value) is not int or not 0 <= value < n:
        raise reader.bad(f"{value!r:.20} is none of the {n} choices", "Give an index from 0 or a letter.", field)
    return value


def _answers(reader: _Reader, part: Mapping[str, Any]) -> dict[str, Any]:
    question, right = reader.text(part["question"]), reader.text(part["right"])
    return {
        "prompt": question,
        "positive": right,
        "negative": _one(question, right, reader.texts(part["wrong"]), reader, part),
    }


def _one(question: str, right: str, wrong: Sequence[str], reader: _Reader, part: Mapping[str, Any]) -> str:
    """One of the wrong answers, by digest."""
    different = sorted({answer for answer in wrong if answer.strip() and answer.strip() != right.strip()})
    if not different:
        raise reader.bad("there is no other answer", "Leave the row out.", part.get("wrong") or part["choices"])
    rank = hashlib.sha256(f"wrong\0{question}\0{right}".encode()).digest()
    return different[int.from_bytes(rank[:8], "big") % len(different)]


def _filled(reader: _Reader, part: Mapping[str, Any]) -> dict[str, Any]:
    text, options = reader.text(part["text"]), reader.texts(part["options"])
    if part["blank"] not in text:
        raise reader.bad(f"it has no blank {part['blank']!r}", "The mapping is for other rows.", part["text"])
    sides = {}
    for side in ("positive", "negative"):
        if not 0 <= part[side] < len(options):
            raise reader.bad(f"it has no option {part[side]}", "The mapping is for other rows.", part["options"])
        sides[side] = text.replace(part["blank"], options[part[side]])
    return {"prompt": "", **sides}
