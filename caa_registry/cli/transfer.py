"""``caa push``, ``caa pull`` and ``caa diff``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from caa_registry.cli import output
from caa_registry.cli.options import Settings, common
from caa_registry.cli.publish import HubOptions, hub_options, publish
from caa_registry.cli.sign import keys_option, require_option
from caa_registry.errors import UsageError
from caa_registry.wire.transfer import difference_json, transfer_json
from caa_registry.wording import count

if TYPE_CHECKING:
    from caa_registry.registry.records import Difference, Transfer


@click.command(epilog="Example: caa push team/sycophancy:v2 --to team")
@click.argument("references", nargs=-1, required=True, metavar="REFERENCE...")
@click.option("--to", required=True, metavar="REMOTE", help="A name from caa remote ls, a path, a URL or hf:ORG/NAME.")
@hub_options
@common
def push(settings: Settings, references: tuple[str, ...], to: str, hub: HubOptions) -> None:
    """Send versions to another registry or a shared folder, each with all that it needs: pairs, model identity,
    numbers, evaluations with their items, plans, runs, recalls and signatures. Only what is missing there is sent.

    The same content under the same name is the same version. Where its number is taken by something else, it gets the
    next one, which is said. Each version goes whole or not at all; after an interruption, push again. A name that a
    dataset and a vector share means the vector, whose pairs go along. An alias (team/sycophancy:best) is set there too,
    with what it recommends, unless somebody has set it.

    A folder gets a bundle for each version. Where something is known of a version that its bundle there lacks, the
    bundle is replaced by one that holds both.

    To the hub (hf:ORG/NAME[@BRANCH]) vectors are pushed as one commit of a model repository: a card, safetensors files,
    the pairs, a list of digests, and a bundle for caa pull. What is pushed later to the same repository takes the place
    of what was there. A new repository is private. Where a licence forbids it, no pairs and no answers are pushed;
    where one is not known, you are asked.
    """
    with settings.open() as registry:
        if registry.remotes.get(to).kind == "hub":
            publish(settings, registry, references, to, hub)
            return
        hub.check_unused()
        with output.progress("sending") as progress:
            sent = registry.push(*references, to=to, progress=progress)
    show_transfer(settings, sent, "there")


@click.command(epilog="Example: caa pull team/sycophancy:best --from team")
@click.argument("references", nargs=-1, metavar="[REFERENCE...]")
@click.option("--from", "source", metavar="REMOTE", help="A name from caa remote ls, a path, a URL or hf:ORG/NAME.")
@require_option
@keys_option
@common
def pull(
    settings: Settings, references: tuple[str, ...], source: str | None, require: tuple[str, ...], keys: Path | None
) -> None:
    """Take versions from another registry or a shared folder, as caa push sends them. Nothing is written there.

    What the other one has recalled, quarantined or deprecated of what is here is taken over with every pull.
    Without a REFERENCE only that is done.

    From the hub (caa pull hf:ORG/NAME@REVISION) all that is in the repository is taken. Every file is compared with its
    list of digests before anything is stored; --require-signature also says who must have signed that list.
    """
    if source is None and len(references) == 1 and references[0].startswith("hf:"):
        source, references = references[0], ()
    if source is None:
        raise UsageError("nothing says where to pull from", "Give --from REMOTE, or pull hf:ORG/NAME.")
    with settings.open(create=True) as registry, output.progress("receiving") as progress:
        taken = registry.pull(*references, source=source, require=require, keys=keys, progress=progress)
    show_transfer(settings, taken, "here")


def show_transfer(settings: Settings, transfer: Transfer, where: str) -> None:
    """Print what went from one registry to another."""
    if settings.as_json:
        output.print_json(transfer_json(transfer))
        return
    for version in transfer.versions:
        renamed = "" if version.became == version.reference else f" as {version.became}: its number was not free"
        if not version.new:
            what = f"{version.kind} {version.reference} was {where} already"
            also = version.added
            output.message(f"{what}{renamed}." if not also else f"{what}{renamed}; {count(also, 'thing')} added to it.")
            continue
        others = version.added - 1
        along = f", with {count(others, 'other thing')} that it needs or that were measured" if others else ""
        output.message(f"{version.kind} {version.reference} is {where} now{renamed}{along}.")
    if transfer.notices:
        output.message(f"{count(transfer.notices, 'recall, rating or signature')} came along.")
    for note in transfer.notes:
        output.message(f"Note: {note}")
    if not transfer.versions and not transfer.notices:
        output.message("Every recall, quarantine and deprecation is here already.")


@click.command(epilog="Example: caa diff --remote team")
@click.option("--remote", required=True, metavar="REMOTE", help="A name from caa remote ls, a path or a URL.")
@common
def diff(settings: Settings, remote: str) -> None:
    """Show which versions only this registry or the other one has, and which have another number there.

    The other one may be a shared folder. Versions are compared by content, under each name. Nothing is written there.
    """
    with settings.open() as registry:
        found = registry.diff(remote)
    if settings.as_json:
        output.print_json([difference_json(each) for each in found])
        return
    rows = [(each.kind, each.here or "-", each.there or "-", _remark(each)) for each in found]
    output.table(["kind", "here", "there", ""], rows, empty="Both hold the same versions.")


def _remark(difference: Difference) -> str:
    if difference.here and difference.there:
        return "other number"
    return "number taken" if difference.clash else ""
