"""Write docs/cli.md from the click tree. With --check, fail where the file is stale."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from caa_registry.cli.main import cli

TARGET = Path(__file__).resolve().parents[1] / "docs" / "cli.md"


def commands(command: click.Command, ctx: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Every command below ``command`` with its full name, depth first."""
    yield ctx.command_path, command, ctx
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            child = command.get_command(ctx, name)
            if child is not None:
                yield from commands(child, click.Context(child, info_name=name, parent=ctx))


def reference() -> str:
    """The whole page."""
    parts = ["# The command line\n\nWritten by `scripts/cli_reference.py` from the commands themselves.\n"]
    root = click.Context(cli, info_name="caa", help_option_names=["-h", "--help"])
    for name, command, ctx in commands(cli, root):
        ctx.terminal_width = ctx.max_content_width = 80
        parts.append(f"\n## {name}\n\n```text\n{command.get_help(ctx)}\n```\n")
    return "".join(parts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail where the file is stale, and write nothing")
    checking = parser.parse_args().check
    text = reference()
    if checking:
        if not TARGET.is_file() or TARGET.read_text(encoding="utf-8") != text:
            sys.exit("docs/cli.md is stale; run: python scripts/cli_reference.py")
    else:
        TARGET.write_text(text, encoding="utf-8")
