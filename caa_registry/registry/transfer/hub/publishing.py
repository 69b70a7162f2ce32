"""What is pushed to a repository, written to a folder first: all that strangers and registries will find there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from caa_registry.disk import explained
from caa_registry.errors import UsageError
from caa_registry.hub.names import parse_branch
from caa_registry.hub.upload import Upload, upload
from caa_registry.pairs.export.tables import write_jsonl
from caa_registry.pairs.record import check_split_name
from caa_registry.progress import Progress
from caa_registry.registry.datasets.store import load_items
from caa_registry.registry.lookup import kind_of
from caa_registry.registry.maintenance.signing.envelope import sealed
from caa_registry.registry.maintenance.signing.keys import PrivateKey, read_private
from caa_registry.registry.provenance.runs import Activity, record_run
from caa_registry.registry.records import DatasetVersion, Published, PublishedFile, Recommendation
from caa_registry.registry.records.lock_text import canonical
from caa_registry.registry.transfer.bundles.writing import create, joined
from caa_registry.registry.transfer.documents.things import DatasetDocument, Document, ModelDocument
from caa_registry.registry.transfer.hub.alone import alone_bytes
from caa_registry.registry.transfer.hub.card import RepositoryFacts, repository_card
from caa_registry.registry.transfer.hub.layout import (
    ALONE,
    BUNDLE,
    CARD,
    CARD_COPY,
    OWN,
    SIGNATURE,
    SUMS,
    file_digest,
    pairs_file,
    statement_of,
    sums_text,
    vector_file,
)
from caa_registry.registry.transfer.hub.licences import Wishes, decided, model_licence
from caa_registry.registry.transfer.parcel import Root
from caa_registry.registry.transfer.sending import parcel_of
from caa_registry.registry.vectors.export import export
from caa_registry.registry.workspace import Workspace
from caa_registry.wording import count

if TYPE_CHECKING:
    from caa_registry.models.folder.fingerprint import ModelInfo
    from caa_registry.registry.reports.content import CardContent, Contents
    from caa_registry.registry.vectors.vectors import Vectors


@dataclass(frozen=True)
class Publication:
    """What is to be pushed where: versions by ``references``, to ``target`` (``hf:ORG/NAME[@BRANCH]``). ``key``: the
    file of one to sign it with, ``passphrase`` where that has one; ``message``: of the commit; ``dry_run``: nothing is
    sent."""

    references: Sequence[str]
    target: str
    wishes: Wishes
    key: Path | None = None
    passphrase: str | None = None
    message: str = ""
    dry_run: bool = False


def publish(
    workspace: Workspace, vectors: Vectors, cards: Contents, asked: Publication, progress: Progress
) -> Published:
    """Push vectors to the hub. See ``Registry.publish``."""
    repo, branch = parse_branch(asked.target)
    key = None if asked.key is None else read_private(asked.key, asked.passphrase)
    if not asked.dry_run:
        workspace.database.check_writable()
    activity = Activity("push", workspace.actor, {})
    contents = [cards.card(vectors.get(reference)) for reference in _vectors(workspace, asked.references)]
    with workspace.database.read() as session:
        parcels = [parcel_of(session, reference, lambda keys: keys) for reference in asked.references]
    whole = joined(parcels)
    documents = whole.documents
    licences = decided(asked.wishes, _data(documents), _models(documents, contents))
    if not licences.pairs:
        contents = [replace(content, example=None) for content in contents]
    with explained("the files to push"), tempfile.TemporaryDirectory(prefix="caa-push-") as name:
        folder = Path(name)
        facts = RepositoryFacts(repo, licences, _advice(whole.roots), key.public.id if key is not None else "")
        _write(workspace, folder, contents, asked.references, facts, key, progress)
        files = [_described(folder, path) for path in sorted(folder.rglob("*")) if path.is_file()]
        published = Published(
            repo,
            branch,
            "",
            asked.wishes.public,
            [content.version.reference for content in contents],
            licences.data,
            licences.models,
            licences.pairs,
            licences.withheld,
            _actors(documents) if licences.whole else (),
            files,
            facts.signer,
        )
        if asked.dry_run:
            return published
        names = ", ".join(published.versions)
        commit = upload(
            Upload(
                folder,
                [file.name for file in files],
                "model",
                repo,
                branch,
                OWN,
                asked.message or f"{names} of CAA Registry",
                mark=SUMS,
                public=asked.wishes.public,
            )
        )
    activity = replace(
        activity,
        parameters={"repo": repo, "branch": branch, "private": not asked.wishes.public, "commit": commit},
    )
    with workspace.database.write() as session:
        record_run(
            session,
            activity,
            inputs=[("vector", content.version.id) for content in contents],
            subject={"vectors": list(published.versions), "repo": repo, "commit": commit},
        )
    return replace(published, commit=commit)


def _vectors(workspace: Workspace, references: Sequence[str]) -> list[str]:
    if not references:
        raise UsageError("nothing was named that is to be pushed", "Name vectors: team/sycophancy:v1")
    with workspace.database.read() as session:
        for reference in references:
            if kind_of(session, reference, prefer="vector") == "dataset":
                raise UsageError(
                    f"{reference} is a dataset, which has a repository of its own kind",
                    f"Push it with: caa dataset push {reference.removeprefix('dataset:')} hf:ORG/NAME",
                )
    return [reference if reference.startswith("vector:") else f"vector:{reference}" for reference in references]


def _data(documents: Sequence[Document]) -> dict[str, str]:
    """Of every dataset version that would go along its licence."""
    return {
        f"{document.key.name}:v{document.number}": document.licence
        for document in documents
        if isinstance(document, DatasetDocument)
    }


def _models(documents: Sequence[Document], contents: Sequence[CardContent]) -> dict[str, str]:
    """Of every model the licence that the card in its folder names."""
    models = [content.version.model for content in contents if content.version.model is not None]
    known = {model.fingerprint.digest: model for model in models}
    infos = [
        known.get(document.key.digest, document.info) for document in documents if isinstance(document, ModelDocument)
    ]
    return {info.name: model_licence(_folder(info)) for info in infos}


def _folder(info: ModelInfo) -> Path | None:
    from caa_registry.models.loading import DEMO_MODEL, demo_model_folder

    if info.path is not None:
        return Path(info.path)
    return demo_model_folder() if info.name == DEMO_MODEL else None


def _actors(documents: Sequence[Document]) -> tuple[str, ...]:
    return tuple(sorted({document.run.actor for document in documents if not isinstance(document, ModelDocument)}))


def _advice(roots: Sequence[Root]) -> dict[str, tuple[str, Recommendation]]:
    """Of what was asked for by an alias that recommends something: by version."""
    return {
        root.reference: (root.alias.name, Recommendation.from_json(root.alias.recommendation))
        for root in roots
        if root.alias is not None and root.alias.recommendation is not None
    }


def _write(
    workspace: Workspace,
    folder: Path,
    contents: Sequence[CardContent],
    references: Sequence[str],
    facts: RepositoryFacts,
    key: PrivateKey | None,
    progress: Progress,
) -> None:
    licences = facts.licences
    files: dict[str, str] = {}
    for content in contents:
        version = content.version
        with _place(folder, vector_file(version.name, version.number)) as (name, path):
            export(workspace, version, path, "safetensors", None, 1.0, force=False)
            files[name] = f"the vectors of {version.reference}: a tensor `layer.L` for each block L, counted from 0"
    if licences.pairs:
        for content in contents:
            if content.dataset is not None:
                files |= _write_pairs(workspace, folder, content.dataset)
    if licences.whole:
        create(workspace, references, folder / BUNDLE, key=None, passphrase=None, force=False, progress=progress)
        files[BUNDLE] = "all of it for `caa pull`: pairs, model identity, vectors, evaluations with their answers"
    else:
        (folder / ALONE).write_bytes(alone_bytes([content.version for content in contents]))
        files[ALONE] = "what `caa pull` needs beside the vectors"
    card = repository_card(contents, facts, files)
    for name in (CARD, CARD_COPY):
        (folder / name).write_text(card, encoding="utf-8", newline="\n")
    names = [path for path in folder.rglob("*") if path.is_file() and path.name != CARD]
    digests = {path.relative_to(folder).as_posix(): file_digest(path) for path in names}
    (folder / SUMS).write_text(sums_text(digests), encoding="utf-8", newline="\n")
    if key is not None:
        (folder / SIGNATURE).write_text(canonical(sealed(statement_of(digests), key)), encoding="ascii")


def _write_pairs(workspace: Workspace, folder: Path, dataset: DatasetVersion) -> Mapping[str, str]:
    with workspace.database.read() as session:
        items = load_items(session, dataset)
    files = {}
    for split in dict.fromkeys(item.split for item in items):
        check_split_name(split)  # it becomes the name of a file, and a registry may come from anybody
        chosen = [item for item in items if item.split == split]
        with _place(folder, pairs_file(dataset.name, dataset.number, split)) as (name, path):
            write_jsonl(chosen, path)  # type: ignore[arg-type]
            files[name] = f"{count(len(chosen), 'pair')} of {dataset.reference}, split {split}"
    return files


@contextmanager
def _place(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    yield name, path


def _described(folder: Path, path: Path) -> PublishedFile:
    return PublishedFile(path.relative_to(folder).as_posix(), path.stat().st_size, file_digest(path))
