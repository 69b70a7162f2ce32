"""Whether pairs may be shown to others: what their licences say, and what to ask where nobody knows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from caa_registry.errors import InputError, LicenceError, UsageError
from caa_registry.pairs.sources.files import read_file
from caa_registry.pairs.sources.front_matter import front_matter

Permission = Literal["open", "closed", "unknown"]

_CLOSED = re.compile(
    r"\b(proprietary|all rights reserved|confidential|internal|private|unlicensed|"
    r"(no|not for|without|do not|don't|must not be) (re)?(distribut\w*|publish\w*|publication|shar\w+))\b"
)
_OPEN = re.compile(
    r"\b(mit|apache|bsd|isc|cc0|cc[- ]by|creative commons|public domain|odc|odbl|pddl|cdla|unlicense|mpl|[al]?gpl|"
    r"bigscience|openrail|artistic|zlib)\b"
)


@dataclass(frozen=True)
class Wishes:
    """What whoever pushes says of licences. ``licence``: of the pairs whose own is not recorded; ``model_licence``: of
    the models; ``pairs``: whether pairs are to be in the repository, ``None`` where their licences decide."""

    public: bool = False
    licence: str = ""
    model_licence: str = ""
    pairs: bool | None = None


@dataclass(frozen=True)
class Licences:
    """What counts. ``data``: by dataset version; ``models``: by name; ``pairs``: whether pairs are in the repository;
    ``withheld``: of those that are kept back the licences that forbid them, empty where somebody said so."""

    data: Mapping[str, str]
    models: Mapping[str, str]
    pairs: bool
    withheld: Mapping[str, str]

    @property
    def whole(self) -> bool:
        """Whether all that the vectors need may be in the repository."""
        return self.pairs or not self.data


def permission(licence: str) -> Permission:
    """Whether texts under ``licence`` may be handed on, as far as its name tells."""
    text = licence.lower().replace("_", "-")
    if _CLOSED.search(text):
        return "closed"
    return "open" if _OPEN.search(text) else "unknown"


def decided(wishes: Wishes, data: Mapping[str, str], models: Mapping[str, str]) -> Licences:
    """What counts, from the recorded licences by dataset version and by model. Raises ``LicenceError`` for one that is
    not known, ``UsageError`` for wishes that contradict what is recorded."""
    unknown = [reference for reference, licence in data.items() if not licence]
    if wishes.licence and not unknown:
        known = "; ".join(f"{reference}: {licence}" for reference, licence in data.items()) or "there are no pairs"
        raise UsageError(
            f"the licences of all pairs are known ({known})",
            "Leave --licence out; or, if one is wrong: caa describe dataset:REFERENCE --licence ...",
        )
    given = {reference: licence or wishes.licence for reference, licence in data.items()}
    closed = {reference: licence for reference, licence in given.items() if permission(licence) == "closed"}
    if wishes.pairs and wishes.public and closed:
        reference, licence = next(iter(closed.items()))
        raise UsageError(
            f"the licence of {reference} ({licence}) does not let its pairs be public",
            "Leave them out (--no-pairs), or push privately.",
        )
    with_pairs = not closed if wishes.pairs is None else wishes.pairs
    if with_pairs:
        _check_known(wishes, given)
    for name, licence in models.items():
        if not (licence or wishes.model_licence):
            raise LicenceError(
                f"the licence of the model {name} is not known",
                "Name it with --model-licence, such as apache-2.0 or llama3.1; the card states it.",
                of="model",
            )
    return Licences(
        given,
        {name: wishes.model_licence or licence for name, licence in models.items()},
        with_pairs and bool(data),
        {} if with_pairs or wishes.pairs is False else closed,
    )


def _check_known(wishes: Wishes, given: Mapping[str, str]) -> None:
    for reference, licence in given.items():
        if not licence and (wishes.public or wishes.pairs is None):
            raise LicenceError(
                f"the licence of {reference} is not known",
                "Name it with --licence, or leave the pairs out with --no-pairs.",
                of="pairs",
            )
        if wishes.pairs is None and permission(licence) == "unknown":
            raise UsageError(
                f"it is not known whether the licence of {reference} ({licence}) lets its pairs be handed on",
                "Give --pairs, or leave them out with --no-pairs.",
            )


def model_licence(folder: Path | None) -> str:
    """The licence that the card in a model's folder names; empty where none does."""
    path = folder / "README.md" if folder is not None else None
    if path is None or not path.is_file():
        return ""
    try:
        values, _ = front_matter(read_file(path))
    except (InputError, UsageError):
        return ""
    licence, name = values.get("license", ""), values.get("license_name", "")
    if licence == "other" and isinstance(name, str) and name:
        return name
    return licence if isinstance(licence, str) else ""
