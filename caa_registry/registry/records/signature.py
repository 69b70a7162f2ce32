"""Signatures and what checking them found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from caa_registry.display.records import Record, Table


@dataclass(frozen=True)
class SignatureCheck(Record):
    """A signature, and what is wrong with it: ``problem``, empty where it counts.

    ``key``: the digest of the public key; ``name``: who has it, empty where it is not trusted. ``signed_at``: when it
    was stored, which its maker says. ``broken``: it does not fit what is there, whoever signed.
    """

    key: str
    name: str
    actor: str
    signed_at: datetime
    problem: str
    broken: bool = False
    envelope: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Signed(Table):
    """The signatures of a version, an evaluation or an alias. ``missing``: what was required and is not there;
    ``move``: which move an alias is at, ``None`` for what is no alias."""

    _facts: ClassVar = "holds digest missing move"

    reference: str
    digest: str
    signatures: Sequence[SignatureCheck]
    missing: Sequence[str] = ()
    move: int | None = None

    def _rows(self) -> Sequence[SignatureCheck]:
        return self.signatures

    @property
    def holds(self) -> bool:
        """Whether a trusted key signed what is there, everyone whose signature is required did, and none is broken."""
        good = any(not each.problem for each in self.signatures)
        return good and not self.missing and not any(each.broken for each in self.signatures)
