"""Other registries, folders of bundles and repositories of the hub, and what went from one to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from caa_registry.display.records import Record, Table
from caa_registry.references import Kind

RemoteKind = Literal["registry", "folder", "hub"]


@dataclass(frozen=True)
class Remote(Record):
    """Another registry, a folder of bundles or a repository of the hub, by name.

    ``url``: of a registry a path or a PostgreSQL URL without a password; of a folder its path, which ends with a slash;
    of a repository ``hf:ORG/REPO[@REVISION]``.
    """

    name: str
    url: str

    @property
    def kind(self) -> RemoteKind:
        """Which of the three it is, by its ``url`` alone: a folder stays one while its disk is not mounted."""
        if self.url.startswith("hf:"):
            return "hub"
        return "folder" if self.url.endswith("/") and "://" not in self.url else "registry"


@dataclass(frozen=True)
class SentVersion(Record):
    """A version that was sent. ``reference``: where it comes from; ``became``: where it went, another number where the
    name had versions of its own; ``new``: whether it was not there yet; ``added``: how many versions, models, plans and
    evaluations came along that were not there, itself with them."""

    kind: Kind
    reference: str
    became: str
    new: bool
    added: int


@dataclass(frozen=True)
class Transfer(Table):
    """What went from one registry to another. ``notices``: recalls, quarantines, deprecations, signatures and ratings
    that were new there; ``notes``: what a person should know."""

    _facts: ClassVar = "remote notices notes"

    remote: str
    versions: Sequence[SentVersion]
    notices: int
    notes: Sequence[str] = ()

    def _rows(self) -> Sequence[SentVersion]:
        return self.versions


@dataclass(frozen=True)
class Difference(Record):
    """A version of one of two registries. ``here`` and ``there``: what each calls it, empty where it has none of that
    content under the name; ``clash``: whether the other has the number for something else."""

    kind: Kind
    here: str
    there: str
    digest: str
    clash: bool


@dataclass(frozen=True)
class BundledVersion(Record):
    """A version that a bundle was made for. ``alias``: by which it was asked for, empty where by none."""

    kind: Kind
    reference: str
    digest: str
    alias: str = ""


@dataclass(frozen=True)
class BundleInfo(Table):
    """What is in a bundle that is whole. ``digest``: of its manifest, which names everything else; ``size``: of its
    members, in bytes; ``datasets`` to ``evaluations``: how many it holds of each, those that others are made from with
    them. ``signed_by``: the key that signed it, empty where none did; ``signer``: who has that, where it is trusted."""

    _facts: ClassVar = "digest size datasets models vectors plans evaluations notices signed_by signer"

    digest: str
    versions: Sequence[BundledVersion]
    size: int
    datasets: int
    models: int
    vectors: int
    plans: int
    evaluations: int
    notices: int
    signed_by: str = ""
    signer: str = ""

    def _rows(self) -> Sequence[BundledVersion]:
        return self.versions
