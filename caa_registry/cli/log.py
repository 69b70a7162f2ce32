"""``caa log``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from caa_registry.cli import output
from caa_registry.cli.listing import page_options, rows_to_show, say_rest, since_option
from caa_registry.cli.options import Settings, common
from caa_registry.digests import short
from caa_registry.wire.audit import check_json, event_json

_DIGEST = "sha256:"
# What a description says; an empty one says that there is none.
_TAKEN_BACK = ("text", "licence", "behavior")


class _Log(click.Group):
    """A group whose command is ``ls`` where none is named, so that ``caa log REFERENCE`` lists."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["ls", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Log)
def log() -> None:
    """Show who did what, and check that the log is intact.

    caa log [REFERENCE] is short for caa log ls [REFERENCE]. Of a dataset named ls, verify or head write dataset:ls.
    """


@log.command(epilog="Example: caa log ls team/sycophancy --by ada --since 2026-11-01")
@click.argument("reference", required=False)
@click.option("--by", metavar="ACTOR", help="Only what this person or program did.")
@since_option
@page_options
@common
def ls(
    settings: Settings,
    reference: str | None,
    by: str | None,
    since: datetime | None,
    limit: int | None,
    all_rows: bool,
) -> None:
    """List what was done, newest first: everything, or what concerns a dataset or vector."""
    count = rows_to_show(settings, limit, all_rows)
    with settings.open() as registry:
        listed = registry.audit.ls(reference, actor=by, since=since, limit=count)
    if settings.as_json:
        output.print_json([event_json(event) for event in listed])
        return
    rows = [
        (event.id, event.at.strftime("%Y-%m-%d %H:%M"), event.actor, event.action, _subject(event.subject))
        for event in listed
    ]
    asked = reference or by or since
    output.table(
        ["event", "at (UTC)", "by", "action", "of"],
        rows,
        empty="No such events. All: caa log" if asked else "No events yet.",
    )
    say_rest(listed)


@log.command(epilog="Example: caa log verify")
@click.option("--head", metavar="DIGEST", help="The digest of an earlier head, which the log must still contain.")
@common
def verify(settings: Settings, head: str | None) -> None:
    """Check that no event was changed, removed, put in between or cut off from the end.

    Whoever can write to the database can replace the whole log. Only a head that you kept elsewhere reveals
    that: see caa log head.
    """
    with settings.open() as registry:
        check = registry.audit.verify(head)
    if settings.as_json:
        output.print_json(check_json(check))
        return
    if check.events == 0:
        output.message("No events yet.")
        return
    events = "1 event" if check.events == 1 else f"{check.events:,} events"
    output.message(f"The log is intact: {events}, the last with the digest {check.head}.")
    if check.place is not None:
        output.message(f"The digest given is that of event {check.place:,}.")


@log.command(epilog="Example: caa log head")
@common
def head(settings: Settings) -> None:
    """Print the digest of the last event. Keep it where nobody who writes to the registry can change it."""
    with settings.open() as registry:
        event = registry.audit.head()
    if settings.as_json:
        output.print_json(event_json(event) if event else None)
    elif event is None:
        output.message("No events yet.")
    else:
        output.line(event.digest)
        output.message(f"This is event {event.id}. To check against it later: caa log verify --head DIGEST")


def _subject(subject: Mapping[str, Any]) -> str:
    """What an event tells of in one line; a digest by its beginning."""
    told = {key: "none" if key in _TAKEN_BACK and value == "" else value for key, value in subject.items()}
    return ", ".join(f"{key} {_value(value)}" for key, value in told.items() if value not in (None, "", [], {}))


def _value(value: Any) -> str:
    if isinstance(value, str):
        return short(value) if value.startswith(_DIGEST) else value
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(each)}" for key, each in value.items() if each is not None)
    return str(value)
