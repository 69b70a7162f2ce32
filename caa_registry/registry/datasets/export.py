"""Datasets written for other programs, and pushed to the Hugging Face hub."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from caa_registry.errors import HubError, UsageError
from caa_registry.hub import client_errors, translated
from caa_registry.pairs.export.caa_layout import write_caa
from caa_registry.pairs.export.card import CardFacts, card
from caa_registry.pairs.export.rows import splits_of
from caa_registry.pairs.export.tables import FILES, write_datasets, write_jsonl
from caa_registry.pairs.sources.hub import SPLIT_FILE
from caa_registry.registry.datasets.lint import newest_report
from caa_registry.registry.datasets.replay import recipe
from caa_registry.registry.datasets.statistics import split_figures
from caa_registry.registry.datasets.store import load_items
from caa_registry.registry.provenance.runs import Activity, record_run
from caa_registry.registry.records import DatasetVersion

if TYPE_CHECKING:
    from caa_registry.registry.registry import Registry

FORMATS = (*FILES, "caa", "datasets")

_TARGET = re.compile(r"hf:([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?")


@dataclass(frozen=True)
class Pushed:
    """Where a version was pushed to. ``commit``: 40 hex digits."""

    repo: str
    commit: str
    files: Sequence[str]


def export(registry: Registry, version: DatasetVersion, path: Path, format: str | None, *, force: bool) -> Path:
    """Write a version to ``path``, whole or not at all. See ``Datasets.export``."""
    chosen = format or path.suffix.removeprefix(".").lower()
    if chosen not in FORMATS:
        raise UsageError(
            f"{path.name}: its suffix names no format" if format is None else f"there is no format {format!r}",
            f"Give --format, one of {', '.join(FORMATS)}.",
        )
    if path.is_dir():
        # Who asks for a file to be replaced did not ask for a folder to be emptied.
        raise UsageError(f"{path} is a folder", "Choose another name, or remove it first.")
    if path.exists() and not force:
        raise UsageError(f"{path} exists", "Choose another name, or give --force to replace it.")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", "Make it first.")
    with registry.database.read() as session:
        items = load_items(session, version)
    # Beside the target, so that it gets its name by one rename, once it is whole.
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        made = Path(folder) / "made"
        if chosen in FILES:
            FILES[chosen](items, made)
        elif chosen == "caa":
            write_caa(items, made, version.behavior)
        else:
            write_datasets(items, made)
        made.replace(path)
    return path


def push(
    registry: Registry,
    version: DatasetVersion,
    target: str,
    *,
    public: bool,
    licence: str,
    message: str,
) -> Pushed:
    """Upload a version as one commit. See ``Datasets.push``."""
    match = _TARGET.fullmatch(target)
    if not match:
        raise UsageError(f"{target!r} is no place on the hub", "Write hf:ORG/NAME[@BRANCH].")
    repo, branch = match[1], match[2] or "main"
    licence = licence or version.licence
    if public and not licence:
        raise UsageError(f"the licence of {version.reference} is unknown", "Say it with --licence, or push privately.")
    activity = Activity("push", registry.actor, {"repo": repo, "branch": branch, "private": not public})
    with registry.database.read() as session:
        items = load_items(session, version)
        files = {split: f"data/{split}.jsonl" for split in splits_of(items)}
        text = card(facts(session, version, licence=licence, files=files, home=repo))
    with tempfile.TemporaryDirectory(prefix="caa-push-") as folder:
        for split, name in files.items():
            path = Path(folder) / name
            path.parent.mkdir(exist_ok=True)
            write_jsonl([item for item in items if item.split == split], path)  # type: ignore[arg-type]
        (Path(folder) / "README.md").write_text(text, encoding="utf-8")
        commit = _upload(Path(folder), [*files.values(), "README.md"], repo, branch, message or _said(version), public)
    activity = Activity(activity.kind, activity.actor, {**activity.parameters, "commit": commit}, activity.started_at)
    with registry.database.write() as session:
        subject = {"dataset": version.reference, "repo": repo, "commit": commit}
        record_run(session, activity, inputs=[("dataset", version.id)], subject=subject)
    return Pushed(repo, commit, [*files.values(), "README.md"])


def _upload(folder: Path, names: Sequence[str], repo: str, branch: str, message: str, public: bool) -> str:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    added = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in names]
    api = HfApi()
    try:
        api.create_repo(repo, repo_type="dataset", private=not public, exist_ok=True)
        there = api.list_repo_files(repo, repo_type="dataset", revision=branch)
        # Splits of an earlier push that this version has not.
        gone = [name for name in there if SPLIT_FILE.fullmatch(name) and name not in names]
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *added,
            *(CommitOperationDelete(path_in_repo=name) for name in gone),
        ]
        done = api.create_commit(repo, operations, commit_message=message, repo_type="dataset", revision=branch)
    except client_errors() as error:
        raise translated(error, f"hf:{repo}") from error
    if not re.fullmatch(r"[0-9a-f]{40}", done.oid or ""):
        raise HubError(f"hf:{repo}: the hub gave no commit for it", "Look at the repository.")
    return str(done.oid)


def _said(version: DatasetVersion) -> str:
    return f"{version.reference} ({version.digest[7:19]})"


def facts(
    session: Session,
    version: DatasetVersion,
    *,
    licence: str = "",
    files: dict[str, str] | None = None,
    home: str = "",
) -> CardFacts:
    """What the card of a version tells."""
    report = newest_report(session, version) if version.kind == "pairs" else None
    about = version.source.get("card", {})
    return CardFacts(
        name=version.name,
        reference=version.reference,
        digest=version.digest,
        kind=version.kind,
        behavior=version.behavior,
        licence=licence or version.licence,
        splits=split_figures(session, version),
        made=_steps(recipe(session, version)["steps"]),
        positive=about.get("positive", ""),
        negative=about.get("negative", ""),
        lint=report.summary if report else None,
        files=files or {},
        home=home,
    )


def _steps(steps: Sequence[dict[str, Any]]) -> list[str]:
    """The steps of a recipe as sentences, without paths of a machine."""
    said = []
    for step in steps:
        if "import" in step:
            source = step["import"]
            names = ", ".join(dict.fromkeys(file["name"] for file in source.get("files", []))) or "a source"
            where = f"hf:{source['repo']} at {source['revision'][:12]}, " if source.get("repo") else ""
            said.append(f"Import of {where}{names}")
        else:
            details = [_detail(name, value) for name, value in sorted(step["parameters"].items())]
            told = "; ".join(detail for detail in details if detail)
            said.append(f"{step['operation'].capitalize()}{f' ({told})' if told else ''}")
    return said


def _detail(name: str, value: Any) -> str:
    """A parameter in a few words; of lists only how long they are."""
    if value is None or value is False or value == []:
        return ""
    if isinstance(value, list):
        return f"{len(value)} {name}"
    if isinstance(value, dict):
        return ""
    return name if value is True else f"{name.replace('_', ' ')}: {value}"
