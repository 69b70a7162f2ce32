"""``caa run``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import click

from caa_registry.cli import output
from caa_registry.cli.listing import page_options, rows_to_show, say_rest, since_option
from caa_registry.cli.options import Settings, common
from caa_registry.wire.audit import detail_json


@click.group()
def run() -> None:
    """Recorded runs: imports, computations, evaluations and whatever else made something."""


@run.command(epilog="Example: caa run ls --kind compute --since 2026-11-01")
@click.option("--kind", metavar="KIND", help="Only runs of this kind, such as compute.")
@click.option("--by", metavar="ACTOR", help="Only what this person or program ran.")
@since_option
@page_options
@common
def ls(
    settings: Settings, kind: str | None, by: str | None, since: datetime | None, limit: int | None, all_rows: bool
) -> None:
    """List runs, newest first."""
    count = rows_to_show(settings, limit, all_rows)
    with settings.open() as registry:
        listed = registry.runs.ls(kind=kind, actor=by, since=since, limit=count)
    if settings.as_json:
        output.print_json([detail_json(each) for each in listed])
        return
    rows = [
        (
            each.run.id,
            each.run.finished_at.strftime("%Y-%m-%d %H:%M"),
            each.run.actor,
            f"{each.run.kind} (failed)" if each.run.failure else each.run.kind,
            _together(each.inputs),
            _together(each.outputs),
        )
        for each in listed
    ]
    asked = kind or by or since
    empty = "No such runs. All: caa run ls" if asked else "No runs yet. Import pairs: caa dataset import --help"
    output.table(["run", "ended (UTC)", "by", "kind", "from", "made"], rows, empty=empty)
    say_rest(listed)


@run.command(epilog="Example: caa run show 3")
@click.argument("number", type=click.IntRange(1))
@common
def show(settings: Settings, number: int) -> None:
    """Show a run: what it read and made, its parameters, and the machine and packages it ran with.

    Of a script's run (registry.run in Python) also the runs that belong to it, and what they read.
    """
    import yaml

    with settings.open() as registry:
        detail = registry.runs.get(number)
    if settings.as_json:
        output.print_json(detail_json(detail))
        return
    found = detail.run
    output.fields(
        {
            "run": f"{found.id}: {found.kind}",
            "by": found.actor,
            "started": found.started_at.isoformat(timespec="seconds"),
            "ended": found.finished_at.isoformat(timespec="seconds"),
            "status": f"failed: {found.failure}" if found.failure else "done",
            "from": _together(detail.inputs) or "nothing",
            "made": _together(detail.outputs) or "nothing",
            **({"within": f"run {detail.within}"} if detail.within is not None else {}),
            **({"runs": ", ".join(map(str, detail.runs)), "used": _together(detail.used)} if detail.runs else {}),
        }
    )
    values = {"parameters": dict(found.parameters), "environment": dict(found.environment)}
    values["environment"].pop("within", None)
    values["parameters"].pop("token", None)
    for line in yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100).splitlines():
        output.line(line)


def _together(things: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{kind} {reference}".replace("evaluation evaluation", "evaluation") for kind, reference in things)
