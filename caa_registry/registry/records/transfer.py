"""Other registries, folders of bundles and repositories of the hub, and what went from one to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from caa_registry.display.records import Record, Table
from caa_registry.references import Kind

RemoteKind = Literal["registry", "folder", "hub"]


@dataclass(frozen=True)
class Remote(Record):
    """Another registry, a folder of bundles or a repository of the hub, by name.

    ``url``: of a registry a path or a PostgreSQL URL without a password; of a folder its path, which ends with a slash;
    of a repository ``hf:ORG/NAME[@REVISION]``.
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


@dataclass(frozen=True)
class PublishedFile(Record):
    """A file of a repository. ``size`` in bytes; ``sha256``: its digest in hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Published(Table):
    """What is, or would be, in a repository on the hub. ``commit``: 40 hex digits, empty where nothing was sent.

    ``licences``: by dataset version, and by model; ``pairs``: whether the pairs are in it; ``withheld``: the licences
    that forbid it, by dataset version; ``actors``: who is named in it, as those who made something. ``signed_by``: the
    key that signed it, empty where none did.
    """

    _facts: ClassVar = "repo branch commit public licences model_licences pairs withheld actors signed_by"

    repo: str
    branch: str
    commit: str
    public: bool
    versions: Sequence[str]
    licences: Mapping[str, str]
    model_licences: Mapping[str, str]
    pairs: bool
    withheld: Mapping[str, str]
    actors: Sequence[str]
    files: Sequence[PublishedFile]
    signed_by: str = ""

    def _rows(self) -> Sequence[PublishedFile]:
        return self.files
