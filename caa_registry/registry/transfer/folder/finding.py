"""What a reference means in a shared folder: what it means in a registry."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

from caa_registry.errors import NotFoundError, UsageError
from caa_registry.references import Kind, Reference, parse
from caa_registry.registry.transfer.folder.shelf import Shelf, Shelved
from caa_registry.registry.transfer.sending import check_version
from caa_registry.wording import ranges


def find(shelf: Shelf, reference: str) -> Shelved:
    """The version that ``reference`` names; a name that a dataset and a vector share means the vector.

    Its ``alias`` is that of the reference. Raises ``NotFoundError``, ``UsageError`` where it fits several versions or
    its tag and digest disagree, and what is wrong with the bundle where that is damaged.
    """
    check_version(reference)
    parsed = parse(reference)
    of_name = [each for each in shelf.versions if each.name == parsed.name and parsed.kind in (None, each.kind)]
    if not of_name:
        raise _unknown(shelf, parsed)
    kind = _kind(of_name, parsed)
    versions = [each for each in of_name if each.kind == kind]
    fitting = [each for each in versions if _tagged(each, parsed, versions)]
    if not fitting:
        raise _no_version(shelf, kind, parsed, versions)
    wanted = [each for each in fitting if _same(each.digest, parsed.digest)]
    if not wanted and parsed.version is None and parsed.alias is None:
        raise _no_version(shelf, kind, parsed, versions)
    if not wanted:
        raise UsageError(
            f"{reference}: tag and digest disagree ({fitting[0].reference} is {fitting[0].digest[:19]})",
            "Give one of the two, or correct it.",
        )
    whole = {each.digest: each for each in wanted if each.error is None}
    damaged = {each.digest: each for each in wanted if not any(_same(digest, each.digest) for digest in whole)}
    found = [*whole.values(), *damaged.values()]
    if len(found) > 1:
        digests = " or ".join(f"{parsed.name}@{each.digest[:19]}" for each in found)
        raise UsageError(f"{reference} fits several versions in {shelf.folder}", f"Write {digests}.")
    if found[0].error is not None:
        raise found[0].error
    return replace(found[0], alias=parsed.alias or "")


def _kind(versions: Sequence[Shelved], parsed: Reference) -> Kind:
    """An alias or a digest that only one kind has decides, then it is the vector."""
    deciding = parsed.alias is not None or parsed.digest is not None
    fitting = [
        each
        for each in versions
        if deciding and parsed.alias in (None, each.alias) and _same(each.digest, parsed.digest)
    ]
    return "vector" if any(each.kind == "vector" for each in fitting or versions) else "dataset"


def _tagged(version: Shelved, parsed: Reference, versions: Sequence[Shelved]) -> bool:
    if parsed.alias is not None:
        return version.alias == parsed.alias
    if parsed.version is not None:
        return version.number == parsed.version
    return parsed.digest is not None or version.number == max(each.number for each in versions)


def _same(digest: str, other: str | None) -> bool:
    """Whether two digests are the same, as far as both are known."""
    return other is None or digest.startswith(other) or other.startswith(digest)


def _no_version(shelf: Shelf, kind: Kind, parsed: Reference, versions: Sequence[Shelved]) -> NotFoundError:
    if parsed.alias is not None:
        aliases = sorted({each.alias for each in versions if each.alias})
        hint = f"Its aliases there: {', '.join(aliases)}." if aliases else "It has none there."
        return NotFoundError(f"{kind} {parsed.name} has no alias {parsed.alias!r} in {shelf.folder}", hint)
    which = f"v{parsed.version}" if parsed.version is not None else parsed.digest
    there = ranges(sorted({each.number for each in versions})).split(", ")
    listed = ", ".join(f"v{part.replace('-', ' to v')}" for part in there)
    return NotFoundError(f"{kind} {parsed.name} has no version {which} in {shelf.folder}", f"It has {listed}.")


def _unknown(shelf: Shelf, parsed: Reference) -> NotFoundError:
    what = f"there is no {parsed.kind or 'dataset or vector'} {parsed.name} in {shelf.folder}"
    for manifest in shelf.bundles.values():
        for key, _ in manifest.documents:
            if key.name == parsed.name and key.kind in ((parsed.kind,) if parsed.kind else ("dataset", "vector")):
                root = manifest.roots[0]
                return NotFoundError(what, f"It goes along with another version: {root.key.kind}:{root.reference}")
    names = sorted({each.name for each in shelf.versions if parsed.kind in (None, each.kind)})
    close = difflib.get_close_matches(parsed.name, names, n=3, cutoff=0.5)
    if close:
        return NotFoundError(what, f"Did you mean {' or '.join(close)}?")
    if not names:
        return NotFoundError(what, "It holds none that can be read." if shelf.damaged else "It holds none.")
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return NotFoundError(what, f"It holds {', '.join(names[:5])}{more}.")
