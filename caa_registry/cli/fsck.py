"""``caa fsck``."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import datetime

import click

from caa_registry.cli import output
from caa_registry.cli.listing import since_option
from caa_registry.cli.options import Settings, common
from caa_registry.pairs.curation.result import count
from caa_registry.wire.maintenance import fsck_json

_MOST = 50


@click.command(epilog="Example: caa fsck --since 2026-11-01")
@since_option
@common
def fsck(settings: Settings, since: datetime | None) -> None:
    """Check everything in the registry: the file, every digest, references, numbering, the log.

    Nothing is changed, and others may go on writing. With --since the pairs, numbers and scores of what was made
    earlier are not read again. The exit code is 1 if anything is damaged, lost or was put there by other means than
    caa.
    """
    with output.progress("checking") as progress, settings.open() as registry:
        report = registry.fsck(since=since, progress=progress)
    if settings.as_json:
        output.print_json(fsck_json(report))
        sys.exit(1 if report.damage else 0)
    problems = Counter(finding.check for finding in report.findings if not finding.harmless)
    rows = [(check, f"{number:,}", problems[check] or "none") for check, number in report.checked.items()]
    output.table(["check", "looked at", "problems"], rows, empty="")
    shown = sorted(report.findings, key=lambda finding: finding.harmless)[:_MOST]
    for finding in shown:
        output.paragraph(f"{'note' if finding.harmless else 'PROBLEM'}: {finding.thing}: {finding.problem}.")
    if len(report.findings) > len(shown):
        output.message(f"{len(report.findings) - len(shown):,} more. All of them: caa fsck --json")
    if report.damage:
        output.message(f"{count(len(report.damage), 'problem')}. Keep a copy of the registry, and restore a backup.")
        sys.exit(1)
    output.message("Everything is as it was stored.")
