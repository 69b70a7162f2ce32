"""Datasets written for other programs, and pushed to the Hugging Face hub."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from caa_registry.digests import short
from caa_registry.disk import check_new, explained, new, place
from caa_registry.errors import UsageError
from caa_registry.hub.names import parse_branch
from caa_registry.hub.upload import Upload, upload
from caa_registry.pairs.export.caa_layout import write_caa
from caa_registry.pairs.export.card import CardFacts, card
from caa_registry.pairs.export.folders import check_folder, give_place
from caa_registry.pairs.export.rows import Items, splits_of
from caa_registry.pairs.export.tables import FILES, write_datasets, write_jsonl
from caa_registry.pairs.record import check_split_name
from caa_registry.pairs.sources.hub import SPLIT_FILE
from caa_registry.registry.datasets.lint import newest_report
from caa_registry.registry.datasets.recipe import RecipeStep, recipe_steps
from caa_registry.registry.datasets.statistics import split_figures
from caa_registry.registry.datasets.store import load_items
from caa_registry.registry.provenance.runs import Activity, record_run
from caa_registry.registry.records import DatasetVersion, Pushed
from caa_registry.registry.workspace import Workspace

FORMATS = (*FILES, "caa", "datasets")


@dataclass(frozen=True)
class ExportRequest:
    """Write ``version`` to ``path`` in a format, by default as the suffix says; ``force``: replace a file."""

    version: DatasetVersion
    path: Path
    format: str | None = None
    force: bool = False


@dataclass(frozen=True)
class PushRequest:
    """Upload ``version`` to ``repo`` on its ``branch``. ``licence``: where the version has none."""

    version: DatasetVersion
    repo: str
    branch: str
    public: bool = False
    licence: str = ""
    message: str = ""


def export(workspace: Workspace, request: ExportRequest) -> Path:
    """Write a version, whole or not at all. See ``Datasets.export``."""
    version, path = request.version, request.path
    format = request.format or path.suffix.removeprefix(".").lower()
    if format not in FORMATS:
        raise UsageError(
            f"{path.name}: its suffix names no format"
            if request.format is None
            else f"there is no format {request.format!r}",
            f"Give --format, one of {', '.join(FORMATS)}.",
        )
    check = check_new if format in FILES else check_folder
    check(path, force=request.force)
    with workspace.database.read() as session:
        items = load_items(session, version)
    if format in FILES:
        with new(path, force=request.force) as part:
            FILES[format](items, part)
        return path
    _check_splits(items)
    with place(path) as written:
        if format == "caa":
            write_caa(items, written, version.behavior)
        else:
            write_datasets(items, written)
        give_place(written, path, force=request.force)
    return path


def _check_splits(items: Items) -> None:
    # Each becomes the name of a file or a folder, and a registry may come from anybody.
    for split in splits_of(items):
        check_split_name(split)


def push_request(version: DatasetVersion, target: str, *, public: bool, licence: str, message: str) -> PushRequest:
    """What ``Datasets.push`` asks for. Raises ``UsageError`` for a bad target, and for a public push of a set whose
    licence is not known."""
    repo, branch = parse_branch(target)
    if licence and version.licence and licence != version.licence:
        raise UsageError(
            f"the licence of {version.reference} is {version.licence}, not {licence}",
            f"Leave it out; or, if that is wrong: caa describe dataset:{version.reference} --licence ...",
        )
    licence = licence or version.licence
    if public and not licence:
        raise UsageError(f"the licence of {version.reference} is unknown", "Name it with --licence, or push privately.")
    return PushRequest(version, repo, branch, public, licence, message)


def push(workspace: Workspace, request: PushRequest) -> Pushed:
    """Upload a version as one commit. See ``Datasets.push``."""
    version, repo = request.version, request.repo
    workspace.database.check_writable()
    asked = {"repo": repo, "branch": request.branch, "private": not request.public}
    activity = Activity("push", workspace.actor, asked)
    with workspace.database.read() as session:
        items = load_items(session, version)
        _check_splits(items)
        files = {split: f"data/{split}.jsonl" for split in splits_of(items)}
        text = card(_facts(session, version, licence=request.licence, files=files, home=repo))
    with explained(f"the export of {version.reference}"), tempfile.TemporaryDirectory(prefix="caa-push-") as folder:
        for split, name in files.items():
            path = Path(folder) / name
            path.parent.mkdir(exist_ok=True)
            write_jsonl([item for item in items if item.split == split], path)  # type: ignore[arg-type]
        (Path(folder) / "README.md").write_text(text, encoding="utf-8")
        message = request.message or f"{version.reference} ({short(version.digest)})"
        names = [*files.values(), "README.md"]
        commit = upload(
            Upload(Path(folder), names, "dataset", repo, request.branch, SPLIT_FILE, message, public=request.public)
        )
    activity = replace(activity, parameters={**asked, "commit": commit})
    with workspace.database.write() as session:
        subject = {"dataset": version.reference, "repo": repo, "commit": commit}
        record_run(session, activity, inputs=[("dataset", version.id)], subject=subject)
    return Pushed(repo, commit, names)


def card_of(workspace: Workspace, version: DatasetVersion) -> str:
    """The dataset card of a version, as Markdown."""
    with workspace.database.read() as session:
        return card(_facts(session, version))


def _facts(
    session: Session,
    version: DatasetVersion,
    *,
    licence: str = "",
    files: dict[str, str] | None = None,
    home: str = "",
) -> CardFacts:
    """What the card of a version tells."""
    report = newest_report(session, version) if version.kind == "pairs" else None
    about = version.source.card
    return CardFacts(
        name=version.name,
        reference=version.reference,
        digest=version.digest,
        kind=version.kind,
        behavior=version.behavior,
        licence=licence or version.licence,
        splits=split_figures(session, version),
        made=[_sentence(step) for step in recipe_steps(session, version)],
        positive=about.positive if about else "",
        negative=about.negative if about else "",
        lint=report.summary if report else None,
        files=files or {},
        home=home,
    )


def _sentence(step: RecipeStep) -> str:
    """A step of a recipe in words, without paths of a machine."""
    if step.operation is not None:
        details = [_detail(name, value) for name, value in sorted(step.operation.parameters.items())]
        shown = "; ".join(detail for detail in details if detail)
        return f"{step.operation.name.capitalize()}{f' ({shown})' if shown else ''}"
    source = step.source
    assert source is not None
    names = ", ".join(dict.fromkeys(file.name for file in source.files)) or "a source"
    where = f"hf:{source.repo} at {(source.revision or '')[:12]}, " if source.repo else ""
    return f"Import of {where}{names}"


def _detail(name: str, value: Any) -> str:
    """A parameter in a few words; of lists only how long they are."""
    if value is None or value is False or value == []:
        return ""
    if isinstance(value, list):
        return f"{len(value)} {name}"
    if isinstance(value, dict):
        return ""
    return name if value is True else f"{name.replace('_', ' ')}: {value}"
