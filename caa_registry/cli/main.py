"""The command ``caa``: global options, commands found by name and loaded when used, errors for people."""

from __future__ import annotations

import importlib
import io
import logging
import os
import sys
from typing import Any

import click

from caa_registry.cli.options import Settings
from caa_registry.cli.output import message
from caa_registry.errors import CaaError
from caa_registry.package import __version__

# name -> (module, attribute, what --help says). Modules are imported when a command is used, so that --help is quick.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "init": ("caa_registry.cli.init", "init", "Create a registry."),
    "demo": ("caa_registry.cli.demo", "demo", "Run the main job end to end on the packaged demo model."),
    "doctor": ("caa_registry.cli.doctor", "doctor", "Say what caa runs on here, how fast, and what is amiss."),
    "dataset": ("caa_registry.cli.dataset", "dataset", "Contrastive pair datasets: import, check, curate, review."),
    "model": ("caa_registry.cli.model", "model", "Models: add, list, show, verify."),
    "vector": ("caa_registry.cli.vector", "vector", "Steering vectors: compute, list, show."),
    "eval": ("caa_registry.cli.evaluation", "evaluation", "Evaluations: propensity, list, show."),
    "generate": ("caa_registry.cli.generate", "generate", "Generate text, steered by vectors."),
    "next-token": ("caa_registry.cli.next_token", "next_token", "Show the most probable next tokens, steered or not."),
    "alias": ("caa_registry.cli.alias", "alias", "Movable names of versions: set, rm, ls."),
    "lineage": ("caa_registry.cli.lineage", "lineage", "Show what a version was made from, and what from it."),
    "db": ("caa_registry.cli.db", "db", "The registry's database: upgrade."),
}


class Notes(logging.Handler):
    """Warnings of the package, as lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        message(f"Note: {record.getMessage()}")


NOTES = Notes(logging.WARNING)


class LazyGroup(click.Group):
    """A group whose commands are modules of their own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Every command explains itself: caa NOUN --help, caa NOUN VERB --help.",
)
@click.version_option(__version__, prog_name="caa")
@click.option("--registry", metavar="URL", help="Path or URL of the registry. [env: CAA_REGISTRY; ~/.caa/registry.db]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, registry: str | None, as_json: bool, debug: bool) -> None:
    """CAA Registry: contrastive pairs, steering vectors and their scores, with the exact model they belong to."""
    ctx.obj = Settings(registry=registry, as_json=as_json, debug=debug)
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def main() -> None:
    """Run ``caa`` and exit: 0 done, 1 it failed or a check did not hold, 2 wrong usage."""
    # The tokenizer library advises on matters that are not this program's user's.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    # A path or a text may hold what the terminal's encoding cannot show: print it escaped rather than fail.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.getLogger("caa_registry").addHandler(NOTES)
    debug = "--debug" in sys.argv
    try:
        sys.exit(_run())
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except CaaError as error:
        if debug:
            raise
        click.echo(f"Error: {error.message}", err=True)
        if error.hint:
            click.echo(error.hint, err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted. Nothing half-made is in the registry.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader went away (caa ... | head). Python must not complain again while it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        click.echo(f"Internal error: {type(error).__name__}: {error}", err=True)
        click.echo("This is a fault of caa. Run the command with --debug and report what it prints.", err=True)
        sys.exit(1)


def _run() -> int:
    code: Any = cli.main(prog_name="caa", standalone_mode=False)
    return code if isinstance(code, int) else 0
