"""``caa fsck``."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import datetime

import click

from caa_registry.cli import output
from caa_registry.cli.listing import since_option
from caa_registry.cli.options import Settings, common
from caa_registry.wire.maintenance import fsck_json
from caa_registry.wording import count

_MOST = 50


@click.command(epilog="Example: caa fsck --since 2026-11-01")
@since_option
@click.option("--repair", is_flag=True, help="Make indexes anew, and quarantine what is damaged; then check again.")
@common
def fsck(settings: Settings, since: datetime | None, repair: bool) -> None:
    """Check everything in the registry: the file, every digest, references, numbering, the log.

    Nothing is changed, and others may write meanwhile. With --since the pairs, numbers and scores of what was made
    earlier are not read again. The exit code is 1 if anything is damaged or lost, or was not written by caa.

    --repair does what can be done without a backup. The indexes of a SQLite file and that of words to search are made
    anew, and damaged versions and evaluations are quarantined, with what was made of them. Nothing else is deleted or
    rewritten: what is damaged stays damaged until a backup is restored.
    """
    done = None
    with settings.open() as registry:
        with output.progress("checking") as progress:
            report = registry.fsck(since=since, progress=progress)
        if repair and report.damage:
            done = registry.repair(report)
            with output.progress("checking") as progress:
                report = registry.fsck(since=since, progress=progress)
    if settings.as_json:
        output.print_json(fsck_json(report, done))
        sys.exit(1 if report.damage else 0)
    if done is not None and done.indexes:
        output.message("The indexes were made anew.")
    if done is not None and done.search:
        output.message("The index of words to search was made anew.")
    if done is not None and done.quarantined:
        output.paragraph(f"Quarantined: {', '.join(done.quarantined)}.")
    problems = Counter(fault.check for fault in report.faults if not fault.harmless)
    rows = [(check, f"{number:,}", problems[check] or "none") for check, number in report.checked.items()]
    output.table(["check", "looked at", "problems"], rows, empty="")
    shown = sorted(report.faults, key=lambda fault: fault.harmless)[:_MOST]
    for fault in shown:
        output.paragraph(f"{'note' if fault.harmless else 'PROBLEM'}: {fault.thing}: {fault.problem}.")
    if len(report.faults) > len(shown):
        output.message(f"{len(report.faults) - len(shown):,} more. All of them: caa fsck --json")
    if report.damage:
        output.message(f"{count(len(report.damage), 'problem')}. Keep a copy of the registry, and restore a backup.")
        sys.exit(1)
    output.message("Everything is as it was stored.")
