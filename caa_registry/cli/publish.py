"""``caa push`` to a repository on the hub."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from caa_registry.cli import output
from caa_registry.cli.options import Settings
from caa_registry.cli.sign import with_passphrase
from caa_registry.errors import LicenceError, UsageError
from caa_registry.wire.transfer import published_json

if TYPE_CHECKING:
    from caa_registry.registry.records import Published
    from caa_registry.registry.registry import Registry


F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class HubOptions:
    """What a push to the hub is told. See ``Registry.publish``."""

    public: bool = False
    licence: str = ""
    model_licence: str = ""
    pairs: bool | None = None
    key: Path | None = None
    message: str = ""
    dry_run: bool = False

    def check_unused(self) -> None:
        """Raise ``UsageError`` where one of them is given for another registry."""
        if self != HubOptions():
            raise UsageError(
                "an option was given that only a push to the hub takes", "Leave it out, or push to hf:ORG/NAME."
            )


def hub_options(function: F) -> F:
    """Add the options of a push to the hub, which the command gets as ``hub``."""

    @click.option("--public", is_flag=True, help="Hub: a new repository is for everybody to see.")
    @click.option("--licence", metavar="L", default="", help="Hub: licence of pairs whose own is not recorded.")
    @click.option("--model-licence", metavar="L", default="", help="Hub: of the model, where its folder has none.")
    @click.option("--pairs/--no-pairs", default=None, help="Hub: with the texts, or without.  [default: by licence]")
    @click.option("--key", type=click.Path(path_type=Path), metavar="FILE", help="Hub: sign with this Ed25519 key.")
    @click.option("--message", "-m", default="", help="Hub: message of the commit.")
    @click.option("--dry-run", is_flag=True, help="Hub: show what would be there, and send nothing.")
    @functools.wraps(function)
    def command(
        public: bool,
        licence: str,
        model_licence: str,
        pairs: bool | None,
        key: Path | None,
        message: str,
        dry_run: bool,
        **arguments: Any,
    ) -> Any:
        hub = HubOptions(public, licence, model_licence, pairs, key, message, dry_run)
        return function(hub=hub, **arguments)

    return cast(F, command)


def publish(settings: Settings, registry: Registry, references: tuple[str, ...], to: str, hub: HubOptions) -> None:
    """Push to the hub, asking for licences that are not known where somebody can answer, and print what came of it."""
    published = _published(registry, references, to, hub)
    if settings.as_json:
        output.print_json(published_json(published))
        return
    _show(published)


def _published(registry: Registry, references: tuple[str, ...], to: str, hub: HubOptions) -> Published:
    while True:
        try:
            return _push(registry, references, to, hub)
        except LicenceError as error:
            if not sys.stdin.isatty():
                raise
            output.message(f"{error.message[0].upper()}{error.message[1:]}.")
            hub = _asked(hub, error.of)


def _push(registry: Registry, references: tuple[str, ...], to: str, hub: HubOptions) -> Published:
    def push(passphrase: str | None) -> Published:
        with output.progress("bundling") as progress:
            return registry.publish(
                *references,
                to=to,
                public=hub.public,
                licence=hub.licence,
                model_licence=hub.model_licence,
                pairs=hub.pairs,
                key=hub.key,
                passphrase=passphrase,
                message=hub.message,
                dry_run=hub.dry_run,
                progress=progress,
            )

    return with_passphrase(push)


def _asked(hub: HubOptions, of: str) -> HubOptions:
    if of == "model":
        return replace(hub, model_licence=click.prompt("Licence of the model (such as apache-2.0)", err=True))
    said = click.prompt(
        "Licence of the pairs (such as CC-BY-4.0; nothing leaves them out)", default="", show_default=False, err=True
    )
    return replace(hub, licence=said) if said else replace(hub, pairs=False)


def _show(published: Published) -> None:
    who = "everybody" if published.public else "those who may see the repository"
    place = f"hf:{published.repo}" + ("" if published.branch == "main" else f"@{published.branch}")
    names = ", ".join(published.versions)
    if published.commit:
        output.message(f"Pushed {names} to {place}, commit {published.commit}.")
    else:
        output.message(f"Nothing was sent. {place} would hold {names}, for {who}:")
    output.table(["file", "bytes"], [(file.name, f"{file.size:,}") for file in published.files], empty="")
    for name, licence in published.licences.items():
        output.message(f"Licence of {name}: {licence or 'not known'}.")
    for name, licence in published.model_licences.items():
        output.message(f"Licence of the model {name}: {licence}.")
    if published.withheld:
        output.paragraph(
            f"The texts of pairs and questions are left out, with the evaluations: the licence of "
            f"{', '.join(published.withheld)} forbids it. Their digests are in the card."
        )
    elif published.licences and not published.pairs:
        output.paragraph("The texts of pairs and questions are left out, with the evaluations.")
    if published.actors:
        output.paragraph(f"Who made what is part of it: {', '.join(published.actors)}.")
    output.message(f"It is signed by {published.signed_by}." if published.signed_by else "It is not signed.")
