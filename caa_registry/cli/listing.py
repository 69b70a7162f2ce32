"""The first page of a listing, or all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from caa_registry.cli import output
from caa_registry.digests import short
from caa_registry.errors import UsageError

if TYPE_CHECKING:
    from caa_registry.cli.options import Settings
    from caa_registry.registry.records import DatasetVersion, Listing, VectorVersion

F = TypeVar("F", bound=Callable[..., Any])

# How many rows a terminal shows unless it is told otherwise.
PAGE = 50


def page_options(function: F) -> F:
    """Add ``--limit`` and ``--all``, which the command takes as ``limit`` and ``all_rows``."""
    for option in (
        click.option("--all", "all_rows", is_flag=True, help="Every row.  [default with --json]"),
        click.option("--limit", type=click.IntRange(1), metavar="N", help=f"At most N rows.  [default: {PAGE}]"),
    ):
        function = option(function)
    return function


class TagOption(click.ParamType[Any]):
    """``key=value``."""

    name = "tag"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        key, sign, said = str(value).partition("=")
        if not (key and sign and said):
            self.fail(f"{value!r} is no tag; write KEY=VALUE", param, ctx)
        return key, said


def tag_option(what: str) -> Callable[[F], F]:
    """Add ``--tag``, which the command takes as ``tag``: pairs of key and value. ``what``: whose tags they are."""
    return click.option(
        "--tag",
        type=TagOption(),
        multiple=True,
        metavar="KEY=VALUE",
        help=f"Only {what} with this tag; several times: with all of them.",
    )


def wanted_tags(tag: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The tags of ``--tag``. Raises ``UsageError`` for two values of one key, which nothing has."""
    tags = dict(tag)
    if len(tags) < len(set(tag)):
        raise UsageError("a version has one value of each tag", "Give each key once.")
    return tags


def since_option(function: F) -> F:
    """Add ``--since``, which the command takes as ``since``, a moment of UTC without a time zone."""
    moment = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])
    return click.option("--since", type=moment, metavar="DATE", help="Only since this day or time (UTC).")(function)


def rows_to_show(settings: Settings, limit: int | None, all_rows: bool) -> int | None:
    """How many rows to list at most; ``None``: all. JSON is complete unless a limit is given."""
    if limit is not None and all_rows:
        raise UsageError("--limit and --all are given", "Give one of the two.")
    return None if all_rows or (settings.as_json and limit is None) else limit or PAGE


def versions_table(
    made_of: str, rows: Sequence[tuple[DatasetVersion | VectorVersion, object, Sequence[str]]], *, empty: str
) -> None:
    """A listing of versions: each with what it is made of, under that heading, and its marks."""
    cells = [
        (
            version.name,
            f"v{version.number}",
            short(version.digest),
            what,
            version.actor,
            f"{version.created_at:%Y-%m-%d}",
            version.message,
            ", ".join([*version.aliases, *marks]),
        )
        for version, what, marks in rows
    ]
    output.table(["name", "version", "digest", made_of, "by", "made", "message", "note"], cells, empty=empty)


def say_rest(listing: Listing[Any]) -> None:
    """Say how many rows there are, where not all are shown."""
    if len(listing) < listing.total:
        output.message(f"First {len(listing):,} of {listing.total:,}; --all shows all.")
