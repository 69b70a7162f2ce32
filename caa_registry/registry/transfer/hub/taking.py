"""What is in a repository, taken into a registry: all of it, or nothing where a part does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from caa_registry import settings
from caa_registry.errors import InputError, IntegrityError, NotFoundError, UsageError, visible
from caa_registry.formats.imported import ImportedVectors
from caa_registry.formats.reading import read_vectors
from caa_registry.hub.names import HubSource
from caa_registry.progress import Progress, silent
from caa_registry.registry.maintenance.signing.trust import read_trust
from caa_registry.registry.records import SentVersion, Transfer, behavior_of
from caa_registry.registry.transfer.bundles.reading import Bundle, opened_bundle
from caa_registry.registry.transfer.differences import Versions
from caa_registry.registry.transfer.documents.key import Key
from caa_registry.registry.transfer.documents.things import VectorDocument
from caa_registry.registry.transfer.hub.alone import VectorAlone, read_alone
from caa_registry.registry.transfer.hub.fetching import Repository, fetched
from caa_registry.registry.transfer.hub.layout import ALONE, BUNDLE, statement_of, vector_file
from caa_registry.registry.transfer.receiving.receive import receive
from caa_registry.registry.transfer.signer import signer_of
from caa_registry.registry.vectors.imports import check_model, check_numbers, store_imported
from caa_registry.registry.vectors.store import check_target
from caa_registry.registry.workspace import Workspace


def take(
    workspace: Workspace,
    source: HubSource,
    references: Sequence[str],
    require: Sequence[str],
    keys: Path | None,
    telling: Progress,
) -> Transfer:
    """All that is in a repository, which has to hold what ``references`` name. See ``Registry.pull``."""
    workspace.database.check_writable()
    trust = read_trust(keys or settings.keys(), required=keys is not None)
    for text in require:
        trust.key(text)  # before anything is downloaded
    repository = fetched(source, telling)
    signer = signer_of(repository.envelope, statement_of(repository.digests), str(repository), trust, require)
    notes = repository.notes
    if signer:
        who = trust.name(signer)
        notes = (*notes, f"it is signed by {f'{who} ({signer})' if who else signer}")
    taking = _take_bundle if _is_whole(repository) else _take_alone
    taken = taking(workspace, repository, references)
    return Transfer(str(repository), taken.versions, taken.notices, (*notes, *taken.notes))


def held(source: HubSource) -> tuple[Versions, set[Key]]:
    """The versions that are in a repository, and the keys of all that came along with them. See ``Registry.diff``."""
    repository = fetched(source, silent)
    vectors: dict[str, set[tuple[int, str]]] = {}
    along: set[Key] = set()
    if _is_whole(repository):
        with opened_bundle(repository.files[BUNDLE]) as bundle:
            roots = [(root.key.name, root.number, root.key.digest) for root in bundle.manifest.roots]
            along = {key for key, _ in bundle.manifest.documents}
    else:
        alone = read_alone(repository.files[ALONE].read_bytes(), f"{repository}/{ALONE}")
        roots = [(vector.name, vector.number, vector.digest) for vector in alone]
    for name, number, digest in roots:
        vectors.setdefault(name, set()).add((number, digest))
    return {"dataset": {}, "vector": vectors}, along


def _is_whole(repository: Repository) -> bool:
    """Whether its vectors are there with all that they need."""
    if not repository.files.keys() & {BUNDLE, ALONE}:
        raise InputError(f"holds neither {BUNDLE} nor {ALONE}", "Have it pushed again.", source=str(repository))
    return BUNDLE in repository.files


def _take_bundle(workspace: Workspace, repository: Repository, references: Sequence[str]) -> Transfer:
    with opened_bundle(repository.files[BUNDLE]) as bundle:
        _check_files(bundle, repository)
        aliases = [f"{root.key.name}:{root.alias.name}" for root in bundle.manifest.roots if root.alias is not None]
        _check_asked(repository, references, [(root.key.name, root.number) for root in bundle.manifest.roots], aliases)
        taken = receive(workspace, bundle.parcel, bundle.archive.member, str(repository))
    versions = [SentVersion("vector", root.reference, became, new, new) for root, became, new in taken.roots]
    return Transfer(str(repository), versions, taken.sayings, tuple(taken.notes))


def _check_files(bundle: Bundle, repository: Repository) -> None:
    """That the files for strangers hold the vectors of the bundle."""
    numbers = {each.key: each.tensor_digest for each in bundle.parcel.documents if isinstance(each, VectorDocument)}
    for root in bundle.manifest.roots:
        if root.key.kind != "vector":
            raise InputError(f"{BUNDLE} holds {root.reference}, which is no vector", source=str(repository))
        name = vector_file(root.key.name, root.number)
        if name not in repository.files:
            raise IntegrityError(f"{repository}: {name} is missing", f"{BUNDLE} holds that vector.")
        found = _read(repository, name)
        if found.vectors.tensor_digest != numbers[root.key]:
            raise IntegrityError(
                f"{repository}: {name} and {BUNDLE} hold different vectors", "Have it pushed again. Nothing was stored."
            )


def _check_asked(
    repository: Repository, references: Sequence[str], versions: Sequence[tuple[str, int]], aliases: Sequence[str] = ()
) -> None:
    held = [f"{name}:v{number}" for name, number in versions]
    known = {*held, *aliases, *(name for name, _ in versions)}
    for reference in references:
        if reference.removeprefix("vector:") not in known:
            raise NotFoundError(
                f"{repository} does not hold {visible(reference)}", f"It holds {', '.join([*held, *aliases])}."
            )


def _take_alone(workspace: Workspace, repository: Repository, references: Sequence[str]) -> Transfer:
    what = f"{repository}/{ALONE}"
    vectors = read_alone(repository.files[ALONE].read_bytes(), what)
    if not vectors:
        raise InputError("names no vector", source=what)
    _check_asked(repository, references, [(vector.name, vector.number) for vector in vectors])
    found = [_read_alone(repository, vector) for vector in vectors]  # all of them, before one is stored
    with workspace.database.read() as session:
        for vector in vectors:
            check_target(session, vector.name)
    sent, notes = [], []
    for vector, numbers in zip(vectors, found, strict=True):
        behavior = behavior_of(vector.name, vector.behavior or None)
        version = store_imported(workspace, vector.name, numbers, vector.model, behavior, f"from {repository}")
        new = not version.existing
        sent.append(SentVersion("vector", f"{vector.name}:v{vector.number}", version.reference, new, new))
        notes.append(
            f"{version.reference} comes without its pairs and evaluations, which were kept back; the card has their "
            f"digests and figures: hf:{repository.repo}"
        )
    return Transfer(str(repository), sent, 0, tuple(notes))


def _read_alone(repository: Repository, vector: VectorAlone) -> ImportedVectors:
    if vector.file not in repository.files:
        raise IntegrityError(f"{repository}: {vector.file} is missing", f"{ALONE} names it. Nothing was stored.")
    found = _read(repository, vector.file)
    model = vector.model.fingerprint.digest if vector.model is not None else None
    if (found.claims.digests.get("version"), found.claims.digests.get("model")) != (vector.digest, model):
        raise IntegrityError(
            f"{repository}: {vector.file} is not the vector of {ALONE}", "Have it pushed again. Nothing was stored."
        )
    if vector.model is not None:
        check_model(found, vector.model)
    return found


def _read(repository: Repository, name: str) -> ImportedVectors:
    try:
        found = read_vectors([repository.files[name]], format="safetensors")
        check_numbers(found)
    except UsageError as error:
        raise InputError(error.message, error.hint, source=f"{repository}/{name}") from error
    return found
