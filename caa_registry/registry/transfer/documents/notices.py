"""What was said of things after they were made: it is only ever added to, and travels by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from caa_registry.errors import InputError
from caa_registry.pairs.source import Fields
from caa_registry.registry.records.locked_dataset import digest_in
from caa_registry.registry.transfer.documents.fields import key_in, moment_in, moment_json, number_of
from caa_registry.registry.transfer.documents.key import Key, ThingKind
from caa_registry.wording import with_article

NoticeKind = Literal["recall", "deprecation", "quarantine"]
# What each may be about.
ABOUT: Mapping[NoticeKind, tuple[ThingKind, ...]] = {
    "recall": ("pair", "dataset"),
    "deprecation": ("dataset", "vector"),
    "quarantine": ("vector", "evaluation"),
}


@dataclass(frozen=True)
class Notice:
    """A recall, a deprecation, or a quarantine by hand, or (``lifted``) that it was taken back. ``successor``: what to
    use instead, as it is called in the registry that says so."""

    kind: NoticeKind
    about: Key
    lifted: bool
    why: str
    actor: str
    created_at: datetime
    successor: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "about": self.about.to_json(),
            "lifted": self.lifted,
            "why": self.why,
            "actor": self.actor,
            "created_at": moment_json(self.created_at),
            "successor": self.successor,
        }

    @classmethod
    def from_json(cls, values: Any, what: str, field: str) -> Notice:
        read = Fields(values, what, field)
        about = key_in(read, "about")
        kind = next((kind for kind in get_args(NoticeKind) if kind == read.get("kind", str)), None)
        if kind is None or about.kind not in ABOUT[kind]:
            raise read.bad(f"is nothing that is said of {with_article(about.kind)}", "kind")
        if type(values.get("lifted")) is not bool:
            raise read.bad("has to be true or false", "lifted")
        return cls(
            kind,
            about,
            values["lifted"],
            read.get("why", str),
            read.get("actor", str),
            moment_in(read, "created_at"),
            read.get("successor", str),
        )


@dataclass(frozen=True)
class SignatureDocument:
    """A signed statement about a version or an evaluation. ``key``: the digest of the public key."""

    about: Key
    key: str
    envelope: Mapping[str, Any] = field(repr=False)
    actor: str
    created_at: datetime

    def to_json(self) -> dict[str, Any]:
        return {
            "about": self.about.to_json(),
            "key": self.key,
            "envelope": self.envelope,
            "actor": self.actor,
            "created_at": moment_json(self.created_at),
        }

    @classmethod
    def from_json(cls, values: Any, what: str, field: str) -> SignatureDocument:
        read = Fields(values, what, field)
        about = key_in(read, "about")
        if about.kind not in ("dataset", "vector", "evaluation"):
            raise read.bad("is nothing that is signed", "about")
        return cls(
            about,
            digest_in(read, "key"),
            read.get("envelope", dict),
            read.get("actor", str),
            moment_in(read, "created_at"),
        )


@dataclass(frozen=True)
class JudgementDocument:
    """One pass of a judge over the answers of an evaluation. ``ratings``: of each answer its place, the rating or
    ``None``, and what the judge said."""

    about: Key
    judge: Mapping[str, Any]
    judge_digest: str
    ratings: Sequence[tuple[int, float | None, str]] = field(repr=False)
    created_at: datetime

    def to_json(self) -> dict[str, Any]:
        return {
            "about": self.about.to_json(),
            "judge": self.judge,
            "judge_digest": self.judge_digest,
            "ratings": [list(rating) for rating in self.ratings],
            "created_at": moment_json(self.created_at),
        }

    @classmethod
    def from_json(cls, values: Any, what: str, field: str) -> JudgementDocument:
        read = Fields(values, what, field)
        about = key_in(read, "about")
        if about.kind != "evaluation":
            raise read.bad("is nothing that has answers", "about")
        ratings = read.get("ratings", list)
        for place, rating in enumerate(ratings):
            if not (isinstance(rating, list) and len(rating) == 3 and _is_rating(*rating)):
                raise InputError(
                    "has to be a place, a number or null, and a text", source=what, field=f"{field}.ratings[{place}]"
                )
        return cls(
            about,
            read.get("judge", dict),
            digest_in(read, "judge_digest"),
            [(place, None if value is None else float(value), reply) for place, value, reply in ratings],
            moment_in(read, "created_at"),
        )


def _is_rating(place: Any, value: Any, reply: Any) -> bool:
    numbers = type(place) is int and 0 <= place < 2**31 and (value is None or number_of(value))
    return numbers and isinstance(reply, str)
