"""What keeps a registry sound: check, repair, back up, retire, sign, and free space."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caa_registry.display.bars import ProgressOption, shown
from caa_registry.registry.records import Backup, Collected, FsckReport, Repaired
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.registry.provenance.recalls import Downstream
    from caa_registry.registry.records import SignatureCheck, Signed


class Upkeep:
    """A registry as those who look after it hold it."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def fsck(self, *, since: datetime | None = None, progress: ProgressOption = None) -> FsckReport:
        """Check everything in the registry: the file, every digest, what refers to what, what is missing, the audit.

        Others may go on writing; nothing is changed. ``since``: the contents of what was made earlier are left out
        (with no time zone it is UTC). Raises ``RegistryError`` where the database cannot be read at all.
        """
        from caa_registry.registry.maintenance.fsck import fsck

        with shown(checking=progress) as (telling,):
            return fsck(self.workspace, since, telling)

    def repair(self, report: FsckReport) -> Repaired:
        """Do about what ``fsck`` found what can be done without a backup: the indexes of a SQLite file are made anew,
        and damaged versions and evaluations are quarantined (datasets recalled), with what was made of them.

        Nothing is deleted and no row is rewritten. Raises ``IntegrityError`` where the log is damaged, since what is
        written now would hide it.
        """
        from caa_registry.registry.maintenance.repair import repair

        return repair(self.workspace, report)

    def backup(self, destination: str | Path, *, keep: int | None = None, progress: ProgressOption = None) -> Backup:
        """Copy the registry to one file as it is at one moment, though others go on writing, and read the copy again.

        ``destination``: a file that does not exist yet, or a folder, in which the copy is named by the time. ``keep``:
        how many copies to leave in the folder. Raises ``UsageError``, ``WriteError``, ``IntegrityError``.
        """
        from caa_registry.registry.maintenance.backup import backup

        with shown(copying=progress) as (telling,):
            return backup(self.workspace, Path(destination), keep, telling)

    def delete(self, reference: str, *, why: str = "") -> str:
        """Mark a dataset version, a vector version or an evaluation (``evaluation:7``) deleted; its reference.

        It is not found any more. ``undelete`` brings it back, until ``gc`` removes its contents. Raises ``UsageError``
        naming the aliases, the plans, and what was made from it, that need it.
        """
        from caa_registry.registry.maintenance.retire import delete

        return delete(self.workspace, reference, why)

    def deprecate(self, reference: str, *, why: str = "", successor: str | None = None, lift: bool = False) -> str:
        """Mark a version of a dataset or vector deprecated, with a reason and, if there is one, the version to use
        instead, or take that back (``lift``); its name. Whoever asks for it is warned. Raises ``UsageError``."""
        from caa_registry.registry.provenance.deprecations import deprecate

        return deprecate(self.workspace, reference, why, successor, lift=lift)

    def quarantine(self, reference: str, *, why: str = "", lift: bool = False) -> Downstream:
        """Quarantine a vector version or an evaluation (``evaluation:7``), with a reason, or take that back (``lift``);
        what is quarantined with it: vectors made of it, and the evaluations of all of them.

        Listings and reports mark it, and whoever applies such a vector is warned. Raises ``UsageError``, also for a
        dataset: ``datasets.recall``.
        """
        from caa_registry.registry.provenance.quarantines import quarantine

        return quarantine(self.workspace, reference, why, lift=lift)

    def statement(self, reference: str) -> dict[str, Any]:
        """Where a version, an evaluation or an alias comes from, as an in-toto statement (``signing.statements``)."""
        from caa_registry.registry.maintenance.signing.signatures import statement

        return statement(self.workspace, reference)

    def sign(self, reference: str, key: str | Path, *, passphrase: str | None = None) -> SignatureCheck:
        """Sign a version, an evaluation (``evaluation:7``) or an alias (``team/x:best``), with what it recommends and
        which of its moves it is, and store the signature.

        ``key``: a file with a private Ed25519 key in PEM form. Raises ``IntegrityError`` where what is to be signed is
        not what was stored, ``PassphraseError``, ``InputError`` for another file, ``UsageError`` for what is signed
        with that key already.
        """
        from caa_registry.registry.maintenance.signing.signatures import sign

        return sign(self.workspace, reference, Path(key), passphrase)

    def verify(self, reference: str, *, require: Sequence[str] = (), keys: str | Path | None = None) -> Signed:
        """Check the signatures of a version, an evaluation or an alias, and its contents, against what was signed.

        ``keys``: the file of trusted and revoked keys (``signing.trust``), by default ``CAA_KEYS`` or
        ``~/.caa/keys.toml``. ``require``: keys each of which must have signed, as ``ed25519:BASE64``, a file, or the
        name of somebody trusted; these need not be in the file. Raises ``IntegrityError`` where the contents are not
        what was stored.
        """
        from caa_registry.registry.maintenance.signing.signatures import verify

        return verify(self.workspace, reference, require, Path(keys) if keys is not None else None)

    def undelete(self, reference: str) -> str:
        """Bring back what was deleted; its reference. Raises ``NotFoundError``, and ``UsageError`` where its contents
        are gone or what it was made from is deleted."""
        from caa_registry.registry.maintenance.retire import undelete

        return undelete(self.workspace, reference)

    def gc(
        self, *, grace: timedelta = timedelta(days=30), dry_run: bool = False, progress: ProgressOption = None
    ) -> Collected:
        """Remove the contents of what was deleted longer than ``grace`` ago, and bytes as old that belong to nothing.

        ``dry_run``: nothing is removed. What is freed is used for what is stored next.
        """
        from caa_registry.registry.maintenance.gc import gc

        with shown(removing=progress) as (telling,):
            return gc(self.workspace, grace, dry_run=dry_run, progress=telling)
