"""``caa dataset recipe`` and ``caa dataset replay``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from caa_registry.cli import output
from caa_registry.cli.options import FORCE, Settings, common
from caa_registry.digests import short
from caa_registry.disk import write_new
from caa_registry.errors import UsageError
from caa_registry.wire.curation import replay_json
from caa_registry.wording import count


@click.command(epilog="Example: caa dataset recipe team/refusal --out refusal.recipe.json")
@click.argument("reference")
@click.option("--out", type=click.Path(path_type=Path), help="Write to this file instead.")
@FORCE
@common
def recipe(settings: Settings, reference: str, out: Path | None, force: bool) -> None:
    """Print how a version was made, from its sources on, as JSON for caa dataset replay."""
    with settings.open() as registry:
        found = registry.datasets.recipe(reference)
    if out is None:
        output.print_json(found)
        return
    write_new(out, (json.dumps(found, indent=2, ensure_ascii=False) + "\n").encode(), force=force)
    if settings.as_json:
        output.print_json({"out": str(out), "steps": len(found["steps"])})
    else:
        output.message(f"Wrote {count(len(found['steps']), 'step')} to {out}.")


@click.command(epilog="Example: caa dataset replay refusal.recipe.json --name team/refusal")
@click.argument("what", metavar="REF|FILE.json")
@click.option("--from-source", is_flag=True, help="Read imports again from their original sources.")
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="OLD=NEW",
    help="A source's recorded name and where it is now; repeatable.",
)
@click.option("--name", metavar="N", help="Name for the result of a recipe file.  [default: as in the recipe]")
@common
def replay(settings: Settings, what: str, from_source: bool, sources: tuple[str, ...], name: str | None) -> int:
    """Repeat the steps that made a version, and compare the digests of each.

    For a version in the registry nothing is stored; its imports are taken from the registry unless --from-source is
    given. A recipe file is followed from its sources on, and every version is stored if all digests agree. The exit
    code is 1 if one differs.
    """
    moved = dict(_moved(text) for text in sources)
    version = None
    if what.endswith(".json"):
        from caa_registry.pairs.sources.files import decoded, read_file
        from caa_registry.pairs.sources.json_rows import parse_json
        from caa_registry.registry.datasets.replay import follow, store

        given = parse_json(decoded(read_file(Path(what))), source=what)
        # Followed before the registry is opened: what cannot be followed must not leave a new registry behind.
        followed = follow(given, moved, what)
        steps = followed.steps
        if followed.same:
            with settings.open(create=True) as registry:
                version = store(registry.workspace, followed, name)
    else:
        if name is not None:
            raise UsageError("--name is only for recipe files", "A version in the registry already has a name.")
        with settings.open() as registry:
            steps = registry.datasets.replay(what, from_source=from_source or bool(moved), sources=moved)
    same = all(step.same for step in steps)
    if settings.as_json:
        output.print_json(replay_json(steps, version))
        return 0 if same else 1
    rows = [(s.dataset, s.what, short(s.expected), short(s.found), "same" if s.same else "differs") for s in steps]
    output.table(["dataset", "step", "digest", "found", ""], rows, empty="")
    if not same:
        output.message("A step gives different pairs than it did before; nothing was stored.")
        return 1
    if version is not None:
        output.message(f"{version.reference} holds {count(version.n_items, 'pair')}.")
    return 0


def _moved(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not equals or not old or not new:
        raise UsageError(f"{text!r} is not of the form OLD=NEW")
    return old, new
