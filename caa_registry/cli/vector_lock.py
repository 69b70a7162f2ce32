"""``caa vector lock``, and ``caa vector compute --lock``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from caa_registry.cli import output
from caa_registry.cli.options import FORCE, ModelChoice, Settings, common
from caa_registry.cli.vector_verify import outcome_of, say_layers
from caa_registry.digests import short
from caa_registry.disk import write_new
from caa_registry.wire.vectors import followed_json, lock_json
from caa_registry.wording import count


@click.command(epilog="Example: caa vector lock team/sycophancy:best --out sycophancy.caa-lock.json")
@click.argument("reference")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File to write, or - for stdout.  [default: NAME.caa-lock.json, / in NAME as -]",
)
@FORCE
@common
def lock(settings: Settings, reference: str, out: Path | None, force: bool) -> None:
    """Write all that another machine needs to compute the same vector, and to tell whether it is the same.

    The file has the pairs with their licence and source, the recipe, the model's fingerprint, the environment, the
    vector with the digest of every layer, and a digest of the whole. The model's weights are not in it. Follow it, in
    any registry, with: caa vector compute --lock FILE.
    """
    with settings.open() as registry:
        locked = registry.vectors.lock(reference)
    if str(out) == "-":
        output.document(locked.to_text())
        return
    path = out or Path(f"{locked.name.replace('/', '-')}.caa-lock.json")
    write_new(path, locked.to_text().encode("ascii"), force=force)
    if settings.as_json:
        output.print_json({**lock_json(locked), "out": str(path)})
        return
    pairs = count(len(locked.dataset.items), "pair")
    licence = f", licence {locked.dataset.licence}" if locked.dataset.licence else ", licence unknown"
    output.paragraph(
        f"Wrote the lock of {locked.reference} to {path}, with {pairs} of {locked.dataset.reference}{licence}."
    )


def follow(settings: Settings, path: Path, name: str | None, model: ModelChoice, message: str, *, fresh: bool) -> None:
    """Follow the lock in the file ``path``, and end with 1 where the vector comes out otherwise."""
    from caa_registry.registry.vectors.locks import read_lock

    locked = read_lock(path)  # before the registry is opened
    with (
        settings.open() as registry,
        output.progress("activations") as progress,
        output.progress("layers") as measuring,
    ):
        followed = registry.vectors.compute_locked(
            locked,
            name,
            model=model.name,
            adapter=model.adapter,
            message=message,
            fresh=fresh,
            progress=progress,
            measuring=measuring,
        )
    found, version = followed.found, followed.version
    if settings.as_json:
        output.print_json(followed_json(followed))
    elif version is None or followed.dataset is None:
        say_layers(found)
        output.paragraph(f"The vector of {path} does not come out: {outcome_of(found)}. Nothing was stored.")
    else:
        say_layers(found)
        how = "to the same bits" if found.same_bits else "the same but for rounding"
        same = version.digest == locked.version_digest
        digest = "the version digest of the lock" if same else f"a version digest of its own, {short(version.digest)}"
        output.paragraph(
            f"{version.reference} {'was there already' if version.existing else 'is stored'}: it comes out {how} as "
            f"{locked.reference} of the lock, and has {digest}. Its pairs are {followed.dataset.reference}."
        )
    sys.exit(0 if found.holds else 1)
