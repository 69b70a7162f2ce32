"""A registry as those hold it who share it: push, pull, and what differs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from caa_registry.display.bars import ProgressOption, shown
from caa_registry.errors import UsageError
from caa_registry.registry.maintenance.upkeep import Upkeep

if TYPE_CHECKING:
    from caa_registry.registry.records import BundleInfo, Difference, Transfer
    from caa_registry.registry.transfer.remotes import Remotes


class Exchange(Upkeep):
    """A registry that can be asked by, and ask, other registries."""

    @cached_property
    def remotes(self) -> Remotes:
        """Other registries, folders and repositories, by the names that this user has given them."""
        from caa_registry.registry.transfer.remotes import Remotes

        return Remotes()

    def push(self, *references: str, to: str, progress: ProgressOption = None) -> Transfer:
        """Send versions to another registry, each with all that it needs and that one lacks: pairs, model, numbers,
        evaluations with their items, plans, runs, recalls and signatures.

        ``to``: the name of a remote, a path or a URL. Each version goes whole or not at all, so a push that was
        interrupted goes on where it was. The same content under the same name is the same version; where the number is
        taken by something else, it gets the next one. An alias in a reference is set there unless somebody set it.
        A folder gets a bundle for each version, which is replaced where something new is known of it.
        Raises ``NotFoundError``, ``UsageError``, ``RegistryError``, ``IntegrityError``, ``ConflictError`` where
        somebody deletes meanwhile what is sent; of a folder ``InputError`` for a damaged bundle, ``WriteError``,
        ``ConflictError`` where others keep replacing the bundle.
        """
        from caa_registry.registry.transfer.between import push

        with shown(sending=progress) as (telling,):
            return push(self.workspace, references, self.remotes.get(to), telling)

    def pull(
        self,
        *references: str,
        source: str,
        require: Sequence[str] = (),
        keys: str | Path | None = None,
        progress: ProgressOption = None,
    ) -> Transfer:
        """Take versions from another registry, as ``push`` sends them, and all recalls, quarantines and deprecations
        that it has of what is here; without ``references`` only those.

        ``source``: the name of a remote, a path or a URL. Nothing is written there. Bundles in a folder are checked as
        ``open_bundle`` checks them. From a repository on the hub (``hf:ORG/NAME[@REVISION]``) all that is in it is
        taken; every file is compared with its list of digests before anything is stored. ``require``: keys that must
        have signed that list, ``keys`` as in ``verify``. Raises as ``push`` does, and ``HubError``.
        """
        from caa_registry.registry.transfer.between import pull

        remote = self.remotes.get(source)
        if remote.kind == "hub":
            from caa_registry.hub.names import parse_hub
            from caa_registry.registry.transfer.hub.taking import take

            trusted = None if keys is None else Path(keys)
            with shown(receiving=progress) as (telling,):
                return take(self.workspace, parse_hub(remote.url), references, require, trusted, telling)
        if require or keys is not None:
            raise UsageError(
                "signatures of versions come along and are checked here", "Pull, then: caa verify REFERENCE"
            )
        with shown(receiving=progress) as (telling,):
            return pull(self.workspace, references, remote, telling)

    def diff(self, remote: str) -> list[Difference]:
        """Every version that only this registry or the other one has under its name, and those with two numbers.

        ``remote``: its name, a path or a URL. Nothing is written there.
        """
        from caa_registry.registry.transfer.between import diff

        return diff(self.workspace, self.remotes.get(remote))

    def bundle(
        self,
        *references: str,
        path: str | Path,
        key: str | Path | None = None,
        passphrase: str | None = None,
        force: bool = False,
        progress: ProgressOption = None,
    ) -> BundleInfo:
        """Write versions with all that they need, as ``push`` sends them, to one file, which ``open_bundle`` reads.

        The same versions give the same bytes. ``key``: a private key to sign it with, ``passphrase`` where that has
        one; ``force`` replaces a file. Raises ``NotFoundError``, ``UsageError``, ``IntegrityError``, ``WriteError``.
        """
        from caa_registry.registry.transfer.bundles.bundles import read
        from caa_registry.registry.transfer.bundles.writing import create

        signing = None if key is None else Path(key)
        with shown(bundling=progress) as (telling,):
            create(
                self.workspace,
                references,
                Path(path),
                key=signing,
                passphrase=passphrase,
                force=force,
                progress=telling,
            )
        return read(Path(path))

    def open_bundle(self, path: str | Path, *, require: Sequence[str] = (), keys: str | Path | None = None) -> Transfer:
        """Take in all that a bundle holds, or nothing. All of it is checked before anything is stored.

        ``require`` and ``keys`` as in ``verify``. Raises ``InputError`` for a bundle that is damaged or lies,
        ``IntegrityError`` where a signature is required and missing, ``UsageError`` for a name that cannot be had here.
        """
        from caa_registry.registry.transfer.bundles.bundles import take

        return take(self.workspace, Path(path), require, None if keys is None else Path(keys))


def read_bundle(path: str | Path, *, require: Sequence[str] = (), keys: str | Path | None = None) -> BundleInfo:
    """Check a bundle, every byte of it, and say what it holds, without any registry. Raises as ``Registry.open_bundle``
    does."""
    from caa_registry.registry.transfer.bundles.bundles import read

    return read(Path(path), require, None if keys is None else Path(keys))
