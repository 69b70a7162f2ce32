"""Groups of commands that are imported when used, and suggestions for names that do not exist."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import click

# How alike two names are that one may be a slip of the other: `list` and `ls` are, `import` and `plot` are not.
_ALIKE = 0.65


class LazyGroup(click.Group):
    """A group of commands, some of which are modules of their own: ``lazy`` has ``module:attribute`` by name."""

    def __init__(self, *arguments: Any, lazy: Mapping[str, str] | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self.lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        module, attribute = self.lazy[cmd_name].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and not ctx.resilient_parsing and self.get_command(ctx, name) is None:
            raise click.UsageError(f"No such command '{name}'.{suggestion(self, ctx, name)}", ctx)
        return super().resolve_command(ctx, args)


def suggestion(group: click.Group, ctx: click.Context, name: str) -> str:
    """What a user who typed ``name`` after ``group`` may have meant: a command of that name elsewhere, else a close
    name here. Empty where there is neither."""
    from difflib import get_close_matches

    root = ctx.find_root()
    assert isinstance(root.command, click.Group)
    paths = [path for path in _paths(root.command, root) if path[-1] == name]
    if not paths:
        here = ctx.command_path.split()[1:]
        paths = [(*here, close) for close in get_close_matches(name, group.list_commands(ctx), 1, _ALIKE)]
    commands = [f"'{' '.join((root.command_path, *path))}'" for path in paths]
    return f" Did you mean {' or '.join(commands)}?" if commands else ""


def _paths(root: click.Group, ctx: click.Context) -> Iterator[tuple[str, ...]]:
    """Every noun, and every verb of every noun."""
    for noun in root.list_commands(ctx):
        yield (noun,)
        command = root.get_command(ctx, noun)
        if isinstance(command, click.Group):
            for verb in command.list_commands(ctx):
                yield noun, verb
