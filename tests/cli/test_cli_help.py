"""Every command explains itself, with an example that the parser accepts."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
import pytest
from cli.command_line import caa

from caa_registry.cli.main import COMMANDS, cli


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, (*path, name))


TREE = dict(commands(cli))
VERBS = {path: command for path, command in TREE.items() if not isinstance(command, click.Group)}


def test_the_commands_are_those_of_the_design() -> None:
    assert list(COMMANDS) == [path[0] for path in TREE if len(path) == 1]
    assert len(VERBS) >= 20


@pytest.mark.parametrize("path", TREE, ids=" ".join)
def test_every_command_has_help(path: tuple[str, ...]) -> None:
    result = caa(*path, "--help")
    assert result.code == 0 and result.err == ""
    assert result.out.startswith("Usage: caa " + " ".join(path))
    assert TREE[path].help and caa(*path, "-h").out == result.out


@pytest.mark.parametrize("path", VERBS, ids=" ".join)
def test_every_command_has_an_example_that_is_understood(path: tuple[str, ...]) -> None:
    command = VERBS[path]
    epilog = command.epilog or ""
    assert epilog.startswith("Example: caa " + " ".join(path)), epilog
    assert len(epilog) <= 76, "it has to stay on one line, to be copied"
    example = epilog.removeprefix("Example: caa ").split("   (")[0]  # a remark may follow
    arguments = shlex.split(example)[len(path) :]
    command.make_context(" ".join(path), arguments)


@pytest.mark.parametrize("path", VERBS, ids=" ".join)
def test_every_option_is_explained_and_the_common_ones_are_there(path: tuple[str, ...]) -> None:
    options = [parameter for parameter in VERBS[path].params if isinstance(parameter, click.Option)]
    names = {name for option in options for name in option.opts}
    assert {"--registry", "--json", "--debug"} <= names
    unexplained = [option.opts[0] for option in options if not option.help and not option.show_default]
    assert unexplained == []


@pytest.mark.parametrize("columns", ["80", "200"])
def test_help_fits_80_columns(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    texts = {("caa",): caa().err} | {path: caa(*path, "--help").out for path in TREE}
    assert len(texts) > 50
    long = [(path, line) for path, text in texts.items() for line in text.splitlines() if len(line) > 80]
    assert long == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("vectors ls", " Did you mean 'caa vector'?"),
        ("genrate", " Did you mean 'caa generate'?"),
        ("vector shew", " Did you mean 'caa vector show'?"),
        ("vector list", " Did you mean 'caa vector ls'?"),
        ("vector dedupe x.json", " Did you mean 'caa dataset dedupe'?"),
        ("dataset compute", " Did you mean 'caa vector compute'?"),
        ("eval generate", " Did you mean 'caa generate'?"),
        ("plot", " Did you mean 'caa vector plot' or 'caa eval plot'?"),
        ("reviews team/s", " Did you mean 'caa dataset reviews'?"),
        ("vector impolt", " Did you mean 'caa vector import'?"),
        ("eval prupose", ""),  # propensity is not close enough
        ("dataset nonsense", ""),
        ("xyzzy", ""),
    ],
)
def test_a_name_that_does_not_exist_gets_a_suggestion(typed: str, meant: str) -> None:
    result = caa(*typed.split())
    wrong = next(word for word in typed.split() if word not in ("vector", "dataset", "eval"))
    assert (result.code, result.out) == (2, "")
    assert result.err.splitlines()[-1] == f"Error: No such command '{wrong}'.{meant}"


# ``caa log`` alone lists.
ALONE = [path for path in TREE if isinstance(TREE[path], click.Group) and path != ("log",)]


@pytest.mark.parametrize("path", ALONE, ids=" ".join)
def test_a_group_alone_shows_its_help_as_wrong_usage(path: tuple[str, ...]) -> None:
    result = caa(*path)
    assert result.code == 2 and result.out == "" and "Commands:" in result.err


def test_version_and_unknown_commands() -> None:
    assert caa("--version").out.startswith("caa, version ")
    for arguments in (["nonsense"], ["dataset", "nonsense"], ["dataset", "ls", "--nonsense"], ["dataset", "show"]):
        result = caa(*arguments)
        assert result.code == 2 and result.out == "" and "Error: " in result.err
