"""The command ``caa``: global options, commands found by name and loaded when used, errors for people."""

from __future__ import annotations

import errno
import io
import logging
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import click

from caa_registry.cli.groups import LazyGroup
from caa_registry.cli.options import Settings
from caa_registry.cli.output import message
from caa_registry.disk import is_full, refused
from caa_registry.errors import CaaError, WriteError
from caa_registry.package import __version__

# name -> (module:attribute, what --help says). Modules are imported when a command is used, so that --help is quick.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("caa_registry.cli.init:init", "Create a registry."),
    "demo": ("caa_registry.cli.demo:demo", "Run the main job end to end on the packaged demo model."),
    "doctor": ("caa_registry.cli.doctor:doctor", "Show what caa runs on, how fast, and any problems."),
    "dataset": ("caa_registry.cli.dataset:dataset", "Datasets of contrastive pairs: import, check, curate, review."),
    "model": ("caa_registry.cli.model:model", "Models: add, list, show, verify."),
    "vector": ("caa_registry.cli.vector:vector", "Steering vectors: compute, list, show, plot, verify."),
    "eval": ("caa_registry.cli.evaluation:evaluation", "Evaluations: propensity, side effects, calibration, reports."),
    "generate": ("caa_registry.cli.generate:generate", "Generate text, steered by vectors."),
    "next-token": ("caa_registry.cli.next_token:next_token", "Show the most probable next tokens, steered or not."),
    "alias": ("caa_registry.cli.alias:alias", "Movable names of versions: set, remove, list, log."),
    "tag": ("caa_registry.cli.tag:tag", "Labels of versions to find them by: set, remove, list."),
    "search": ("caa_registry.cli.order:search", "Find datasets, vectors, models and pairs by their words."),
    "describe": ("caa_registry.cli.order:describe", "Say what something is; correct its licence or behavior."),
    "rename": ("caa_registry.cli.order:rename", "Give a dataset or vector another name."),
    "lineage": ("caa_registry.cli.lineage:lineage", "Show what a version was made from, and what was made from it."),
    "run": ("caa_registry.cli.run:run", "Recorded runs: list, show."),
    "log": ("caa_registry.cli.log:log", "Show who did what, and check that the log is intact."),
    "sign": ("caa_registry.cli.sign:sign", "Sign a version, an evaluation or an alias."),
    "verify": ("caa_registry.cli.sign:verify", "Check who signed what."),
    "key": ("caa_registry.cli.sign:key", "Keys to sign with: make one."),
    "remote": ("caa_registry.cli.remote:remote", "Other registries by name: add, list, remove."),
    "push": ("caa_registry.cli.transfer:push", "Send versions to another registry."),
    "pull": ("caa_registry.cli.transfer:pull", "Take versions, and recalls, from another registry."),
    "diff": ("caa_registry.cli.transfer:diff", "Show what this registry and another one do not share."),
    "bundle": ("caa_registry.cli.bundle:bundle", "One file to mail: create, show, verify, open."),
    "deprecate": ("caa_registry.cli.retire:deprecate", "Deprecate a version, and name its successor."),
    "quarantine": ("caa_registry.cli.retire:quarantine", "Quarantine a vector or an evaluation."),
    "delete": ("caa_registry.cli.retire:delete", "Mark a version or an evaluation deleted."),
    "undelete": ("caa_registry.cli.retire:undelete", "Bring back what was deleted."),
    "gc": ("caa_registry.cli.retire:gc", "Remove the contents of what was deleted."),
    "fsck": ("caa_registry.cli.fsck:fsck", "Check everything in the registry."),
    "backup": ("caa_registry.cli.backup:backup", "Copy the registry to one file while others write."),
    "restore": ("caa_registry.cli.restore:restore", "Make a new registry from a backup."),
    "copy": ("caa_registry.cli.copy:copy", "Copy a whole registry between SQLite and PostgreSQL."),
    "db": ("caa_registry.cli.db:db", "The registry's database: upgrade, roles."),
}


class Notes(logging.Handler):
    """The package's warnings as lines on stderr, each once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.printed: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self.printed:
            self.printed.add(text)
            message(f"Note: {text}")


class ReaderGoneError(Exception):
    """Nobody reads stdout or stderr any more."""


@contextmanager
def _closed_pipes() -> Iterator[None]:
    """Raise ``ReaderGoneError`` where output meets a closed pipe. Another closed pipe, such as a server's connection,
    stays an error. click by itself ends with 1 and no message in both cases."""
    try:
        yield
    except BrokenPipeError as error:
        poll = select.poll()
        for descriptor in (1, 2):
            poll.register(descriptor, 0)
        if any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0)):
            raise ReaderGoneError from error
        raise RuntimeError("a connection was closed by the other side") from error


class Nouns(LazyGroup):
    """The commands in the order of ``COMMANDS``; listing them imports none."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with _closed_pipes():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with _closed_pipes():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=Nouns,
    lazy={name: place for name, (place, _) in COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Every command has its own help: caa NOUN --help, caa NOUN VERB --help.",
)
@click.version_option(__version__, prog_name="caa")
@click.option("--registry", metavar="URL", help="Path or URL of the registry. [env: CAA_REGISTRY; ~/.caa/registry.db]")
@click.option("--read-only", is_flag=True, help="Write nothing to the registry. It may lie on a read-only disk.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, registry: str | None, read_only: bool, as_json: bool, debug: bool) -> None:
    """CAA Registry: contrastive pairs, steering vectors and their scores, with the exact model they belong to."""
    ctx.obj = Settings(registry=registry, read_only=read_only, as_json=as_json, debug=debug)
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def main() -> None:
    """Run ``caa`` and exit: 0 done, 1 it failed or a check did not hold, 2 wrong usage."""
    # The tokenizer library advises on matters that are not this program's user's.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    _prepare_streams()
    notes = Notes()
    logging.getLogger("caa_registry").addHandler(notes)
    debug = "--debug" in sys.argv
    if debug:
        # A traceback repeats texts of others, as messages do.
        sys.excepthook = _show_traceback
    try:
        with _closed_pipes():
            code = _run()
            sys.stdout.flush()
        sys.exit(code)
    except click.ClickException as error:
        # click repeats what was typed.
        shown = io.StringIO()
        error.show(file=shown)
        message(shown.getvalue().rstrip("\n"))
        sys.exit(error.exit_code)
    except CaaError as error:
        if debug:
            raise
        sys.exit(_say(error))
    except (KeyboardInterrupt, click.Abort):
        _end_when_interrupted()
        message("Interrupted. The registry holds nothing incomplete.")
        sys.exit(130)
    except ReaderGoneError:
        sys.exit(0)  # no error (caa ... | head)
    except Exception as error:
        if debug:
            raise
        refusal = _refusal(error)
        if refusal is not None:
            sys.exit(_say(refusal))
        message(f"Internal error: {type(error).__name__}: {error}")
        message("This is a bug in caa. Run the command again with --debug and report what it prints.")
        sys.exit(1)
    finally:
        _end_when_interrupted()
        logging.getLogger("caa_registry").removeHandler(notes)
        for stream in (sys.stdout, sys.stderr):
            _drop_unwritten(stream)


def _end_when_interrupted() -> None:
    """From now on Ctrl-C ends the process at once. All is done, and Python would print a traceback while it ends."""
    alone = threading.current_thread() is threading.main_thread()
    if alone and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    message("".join(traceback.format_exception(kind, error, trace)).rstrip("\n"))


def _say(error: CaaError) -> int:
    """Print an error, where stderr takes it; its exit code."""
    with suppress(OSError):
        message(f"Error: {error.message}")
        if error.hint:
            message(error.hint)
    return error.exit_code


def _refusal(error: Exception) -> CaaError | None:
    """What is said of a disk that is full or may not be written, wherever that happens; ``None`` for other errors."""
    number, name = (error.errno, error.filename) if isinstance(error, OSError) else (None, None)
    if number in (errno.EACCES, errno.EPERM) and name:
        return WriteError(f"{name}: permission denied", "Change its permissions, or those of its folder.")
    if is_full(error) or number == errno.EROFS:
        return refused(error, name or "the output")
    return None


def _drop_unwritten(stream: Any) -> None:
    """Send what a stream does not take nowhere, so that Python does not complain while it closes it."""
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())


def _prepare_streams() -> None:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed before the start (caa ... >&-)
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - it stays open
        elif isinstance(stream, io.TextIOWrapper):
            # A path or a text may hold what the terminal's encoding cannot show: print it escaped rather than fail.
            stream.reconfigure(errors="backslashreplace")


def _run() -> int:
    code: Any = cli.main(prog_name="caa", standalone_mode=False)
    return code if isinstance(code, int) else 0
