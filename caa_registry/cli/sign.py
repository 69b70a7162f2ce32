"""``caa sign``, ``caa verify`` and ``caa key``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from caa_registry.cli import output
from caa_registry.cli.options import Settings, common
from caa_registry.digests import short
from caa_registry.errors import PassphraseError
from caa_registry.wire.signatures import signature_json, signed_json

if TYPE_CHECKING:
    from caa_registry.registry.records import Signed

PASSPHRASE = "CAA_KEY_PASSPHRASE"

require_option = click.option(
    "--require-signature",
    "require",
    multiple=True,
    metavar="KEY",
    help="A key that must have signed: ed25519:BASE64, a file, or a trusted name. May be repeated.",
)
keys_option = click.option(
    "--keys",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The trusted and revoked keys.  [default: CAA_KEYS, or ~/.caa/keys.toml]",
)


T = TypeVar("T")


@click.command(epilog="Example: caa sign team/sycophancy:v2 --key ada.pem")
@click.argument("reference")
@click.option(
    "--key", required=True, metavar="FILE", type=click.Path(path_type=Path), help="A private Ed25519 key in PEM form."
)
@common
def sign(settings: Settings, reference: str, key: Path) -> None:
    """Sign a version of a dataset or vector, an evaluation (evaluation:7) or an alias (team/x:best).

    What is signed is where it comes from, as caa lineage --in-toto prints it, with the digest of what it holds, which
    is checked first. Of an alias it is where it points, what it recommends, and which of its moves that is: once it
    moves, the signature no longer counts. The passphrase of a key is asked for, or taken from CAA_KEY_PASSPHRASE.
    """
    with settings.open() as registry:
        made = with_passphrase(lambda passphrase: registry.sign(reference, key, passphrase=passphrase))
    if settings.as_json:
        output.print_json(signature_json(made))
    else:
        output.message(f"Signed {reference} with the key {short(made.key)}.")


def with_passphrase(sign: Callable[[str | None], T]) -> T:
    """What ``sign`` returns, which gets the passphrase of the key: that of CAA_KEY_PASSPHRASE, or where one is needed
    and somebody can be asked, theirs."""
    given = os.environ.get(PASSPHRASE)
    try:
        return sign(given)
    except PassphraseError:
        if given is not None or not sys.stdin.isatty():
            raise
    return sign(click.prompt("Passphrase", hide_input=True, err=True))


@click.command(epilog="Example: caa verify team/sycophancy:best --require-signature ada")
@click.argument("reference")
@require_option
@keys_option
@common
def verify(settings: Settings, reference: str, require: tuple[str, ...], keys: Path | None) -> None:
    """Check who signed a version, an evaluation (evaluation:7) or an alias, and that it is what they signed.

    Its contents are compared with its digest, and all that was signed with what is stored. The exit code is 1 unless
    a trusted key signed it, every required key did, and no signature is broken. Keys are trusted and revoked in a file:

    \b
        [[trusted]]
        name = "ada"
        key = "ed25519:..."
        [[revoked]]
        key = "ed25519:..."
        why = "the laptop was stolen"

    caa vector verify and caa eval verify also compute again.
    """
    with settings.open() as registry:
        found = registry.verify(reference, require=require, keys=keys)
    if settings.as_json:
        output.print_json(signed_json(found))
    else:
        _say(found)
    sys.exit(0 if found.holds else 1)


def _say(found: Signed) -> None:
    rows = [
        (
            each.name or short(each.key),
            each.signed_at.strftime("%Y-%m-%d %H:%M"),
            each.actor,
            each.problem or "good",
        )
        for each in found.signatures
    ]
    output.table(["key", "signed (UTC)", "by", "result"], rows, empty=f"{found.reference} has no signature.")
    for missing in found.missing:
        output.paragraph(f"MISSING: no signature with the key {missing} counts.")
    what = found.reference if found.move is None else f"{found.reference}, at move {found.move},"
    if found.holds:
        output.paragraph(f"{what} is what was signed ({short(found.digest)}).")
    else:
        output.paragraph(f"{what} is not signed as it should be.")


@click.group()
def key() -> None:
    """Keys to sign with."""


@key.command("new", epilog="Example: caa key new ada.pem")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--passphrase", "protect", is_flag=True, help="Ask for a passphrase, and encrypt the key with it.")
@common
def new(settings: Settings, file: Path, protect: bool) -> None:
    """Make an Ed25519 key, and write the private part to FILE, for you only (PEM, which OpenSSL reads too).

    What is printed is public: whoever trusts the key adds it to ~/.caa/keys.toml. Keep FILE outside the registry.
    """
    from caa_registry.registry.maintenance.signing.keys import new_key

    passphrase = None
    if protect:
        passphrase = os.environ.get(PASSPHRASE) or click.prompt(
            "Passphrase", hide_input=True, confirmation_prompt=True, err=True
        )
    public = new_key(file, passphrase)
    if settings.as_json:
        output.print_json({"key": public.word, "id": public.id})
        return
    # A JSON string is one of TOML too.
    output.document(f'[[trusted]]\nname = {json.dumps(file.stem)}\nkey = "{public.word}"\n')
    output.message(f"Wrote {file}. Whoever adds these lines to ~/.caa/keys.toml trusts what it signs.")
