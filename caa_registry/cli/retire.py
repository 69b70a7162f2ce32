"""``caa deprecate``, ``caa quarantine``, ``caa delete``, ``caa undelete`` and ``caa gc``."""

from __future__ import annotations

from datetime import timedelta

import click

from caa_registry.cli import output
from caa_registry.cli.options import Settings, common
from caa_registry.wire.maintenance import collected_json, quarantine_json
from caa_registry.wording import count


@click.command(epilog="Example: caa delete team/sycophancy:v2 --why 'labels were wrong'")
@click.argument("reference")
@click.option("--why", default="", metavar="TEXT", help="Why, for the log.")
@common
def delete(settings: Settings, reference: str, why: str) -> None:
    """Mark a version of a dataset or vector, or an evaluation (evaluation:7), deleted.

    It is no longer found. caa undelete brings it back, until caa gc removes its contents. What an alias, another
    version, an evaluation or a plan that was not run yet needs is not deleted; the message names them.
    """
    with settings.open() as registry:
        name = registry.delete(reference, why=why)
    if settings.as_json:
        output.print_json({"deleted": name})
    else:
        output.message(f"Deleted {name}. To bring it back: caa undelete {name}")


@click.command(epilog="Example: caa deprecate team/s:v2 --why 'wrong labels' --successor team/s:v3")
@click.argument("reference")
@click.option("--why", default="", metavar="TEXT", help="The reason; required unless --lift is given.")
@click.option("--successor", metavar="REF", help="The version to use instead.")
@click.option("--lift", is_flag=True, help="Take the deprecation back.")
@common
def deprecate(settings: Settings, reference: str, why: str, successor: str | None, lift: bool) -> None:
    """Deprecate a version of a dataset or vector.

    It works as before. Whoever uses it is told the reason and the successor.
    """
    with settings.open() as registry:
        name = registry.deprecate(reference, why=why, successor=successor, lift=lift)
    if settings.as_json:
        output.print_json({"deprecated": name, "lifted": lift})
    else:
        output.message(f"{name} is no longer deprecated." if lift else f"{name} is deprecated.")


@click.command(epilog="Example: caa quarantine team/sycophancy:v2 --why 'it raises perplexity'")
@click.argument("reference")
@click.option("--why", default="", metavar="TEXT", help="The reason; required unless --lift is given.")
@click.option("--lift", is_flag=True, help="Take the quarantine back.")
@common
def quarantine(settings: Settings, reference: str, why: str, lift: bool) -> None:
    """Quarantine a vector version, or an evaluation (evaluation:7).

    Vectors made of it, and the evaluations of all of them, are quarantined with it: listings and reports mark them, and
    applying such a vector gives a warning. Pairs and datasets are recalled instead: caa dataset recall.
    """
    with settings.open() as registry:
        found = registry.quarantine(reference, why=why, lift=lift)
    if settings.as_json:
        output.print_json(quarantine_json(found, lifted=lift))
        return
    output.fields(
        {
            "no longer quarantined" if lift else "quarantined": found.what,
            "vectors": "\n".join(found.vectors) or "none",
            "evaluations": ", ".join(map(str, found.evaluations)) or "none",
        }
    )


@click.command(epilog="Example: caa undelete team/sycophancy:v2")
@click.argument("reference")
@common
def undelete(settings: Settings, reference: str) -> None:
    """Bring back what was deleted, as long as caa gc has not removed its contents."""
    with settings.open() as registry:
        name = registry.undelete(reference)
    if settings.as_json:
        output.print_json({"undeleted": name})
    else:
        output.message(f"{name} is there again.")


@click.command(epilog="Example: caa gc --dry-run")
@click.option(
    "--grace",
    metavar="DAYS",
    type=click.FloatRange(0, 36_500),
    default=30,
    show_default=True,
    help="Remove only what was deleted or left behind longer ago.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@common
def gc(settings: Settings, grace: float, dry_run: bool) -> None:
    """Remove the contents of what was deleted, and bytes that belong to nothing.

    What is removed cannot be brought back. The rows of versions and evaluations stay, so that their names and numbers
    are not used again. A SQLite file does not get smaller: what is stored next uses the space.
    """
    with settings.open() as registry, output.progress("removing") as progress:
        collected = registry.gc(grace=timedelta(days=grace), dry_run=dry_run, progress=progress)
    if settings.as_json:
        output.print_json({"dry_run": dry_run, **collected_json(collected)})
        return
    if not (collected.versions or collected.blobs):
        output.message("There is nothing to remove.")
        return
    for name in (*collected.versions, *(f"evaluation:{number}" for number in collected.evaluations)):
        output.line(name)
    what = f"{count(collected.blobs, 'blob')} ({collected.bytes / 1e3:,.1f} kB) and {count(collected.pairs, 'pair')}"
    output.message(f"Would remove {what}. Nothing was removed." if dry_run else f"Removed {what}.")
