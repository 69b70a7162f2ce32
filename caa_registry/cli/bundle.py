"""``caa bundle``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from caa_registry.cli import output
from caa_registry.cli.options import Settings, common
from caa_registry.cli.sign import keys_option, require_option, with_passphrase
from caa_registry.cli.transfer import show_transfer
from caa_registry.digests import short
from caa_registry.wire.transfer import bundle_json
from caa_registry.wording import count

if TYPE_CHECKING:
    from caa_registry.registry.records import BundleInfo

_FILE = click.Path(path_type=Path)


@click.group()
def bundle() -> None:
    """Versions with all that they need in one file, to be mailed or archived.

    A bundle is an uncompressed zip. Every part is named by its digest in a manifest, which can be signed.
    """


@bundle.command(epilog="Example: caa bundle create team/sycophancy:best -o team.caa")
@click.argument("references", nargs=-1, required=True, metavar="REFERENCE...")
@click.option("-o", "--output", "path", required=True, type=_FILE, help="The file to write: team.caa")
@click.option("--key", metavar="FILE", type=_FILE, help="Sign it with this private Ed25519 key.")
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@common
def create(settings: Settings, references: tuple[str, ...], path: Path, key: Path | None, force: bool) -> None:
    """Write versions to one file, with all that caa push would send. The same versions give the same bytes."""
    with settings.open() as registry, output.progress("bundling") as progress:
        made = with_passphrase(
            lambda passphrase: registry.bundle(
                *references, path=path, key=key, passphrase=passphrase, force=force, progress=progress
            )
        )
    if settings.as_json:
        output.print_json(bundle_json(made))
        return
    output.message(f"Wrote {path}: {_contents(made)}, {path.stat().st_size / 1e6:,.1f} MB.")
    output.message(f"Its digest is {made.digest}.")


@bundle.command(epilog="Example: caa bundle show team.caa")
@click.argument("path", metavar="FILE", type=_FILE)
@common
def show(settings: Settings, path: Path) -> None:
    """Show what is in the bundle FILE. All of it is checked; no registry is needed."""
    from caa_registry.registry.transfer.bundles.bundles import read

    found = read(path)
    if settings.as_json:
        output.print_json(bundle_json(found))
        return
    rows = [
        (each.kind, each.reference, short(each.digest), f"alias {each.alias}" if each.alias else "")
        for each in found.versions
    ]
    output.table(["kind", "version", "digest", ""], rows, empty="Nothing.")
    output.message(f"It holds {_contents(found)}.")
    output.message(_signed(found))


@bundle.command(epilog="Example: caa bundle verify team.caa --require-signature ada")
@click.argument("path", metavar="FILE", type=_FILE)
@require_option
@keys_option
@common
def verify(settings: Settings, path: Path, require: tuple[str, ...], keys: Path | None) -> None:
    """Check every byte of the bundle FILE, and who signed it. The exit code is 1 where something does not hold."""
    from caa_registry.registry.transfer.bundles.bundles import read

    found = read(path, require, keys)
    if settings.as_json:
        output.print_json(bundle_json(found))
        return
    output.message(f"{path} is whole ({short(found.digest)}): {_contents(found)}.")
    output.message(_signed(found))


@bundle.command("open", epilog="Example: caa bundle open team.caa")
@click.argument("path", metavar="FILE", type=_FILE)
@require_option
@keys_option
@common
def open_(settings: Settings, path: Path, require: tuple[str, ...], keys: Path | None) -> None:
    """Take what is in the bundle FILE into the registry: all of it, or nothing where a part does not hold."""
    with settings.open(create=True) as registry:
        taken = registry.open_bundle(path, require=require, keys=keys)
    show_transfer(settings, taken, "here")


def _contents(found: BundleInfo) -> str:
    counts = {
        "dataset": found.datasets,
        "model": found.models,
        "vector": found.vectors,
        "plan": found.plans,
        "evaluation": found.evaluations,
        "notice": found.notices,
    }
    return ", ".join(count(number, noun) for noun, number in counts.items() if number)


def _signed(found: BundleInfo) -> str:
    if not found.signed_by:
        return "It is not signed."
    return (
        f"It is signed by {found.signer} ({short(found.signed_by)})."
        if found.signer
        else f"Signed by {found.signed_by}."
    )
