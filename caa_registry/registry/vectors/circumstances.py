"""What a computation depends on beside what it is given: the files of the model, packages and machine; what of them is
not as it was when something was made, and the run that keeps what doing it again gave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caa_registry.errors import UsageError
from caa_registry.models.loading import DTYPES
from caa_registry.registry.models import Models
from caa_registry.registry.provenance.lineage import Thing, maker
from caa_registry.registry.provenance.runs import Activity, environment, machine, record_run
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.models.folder.fingerprint import ModelInfo
    from caa_registry.models.model import Model

_PARTS = {"chat_template": "chat template", "files": "other files that decide what is computed"}
_MANY = {"weights", "files"}


@dataclass(frozen=True)
class Places:
    """Where the files of a ``model`` and of its ``adapter`` are."""

    model: str
    adapter: str | None

    @classmethod
    def of(cls, info: ModelInfo, model: str | Path | None, adapter: str | Path | None) -> Places:
        """Those that are given, else where the recorded model was last seen."""
        return cls(str(model or Models.where(info)), str(adapter) if adapter else info.adapter_path)


def check_alone(things: str) -> None:
    """Raise ``UsageError`` in one of several processes that a launcher started."""
    from caa_registry.engine import processes

    if processes.count() > 1:
        raise UsageError(f"{things} by one process", "Run the command without a launcher.")


def model_differences(models: Models, info: ModelInfo, places: Places) -> list[str]:
    """What of a recorded model is not what lies in its ``places`` now, every byte of which is read: in words, weights
    with the files that they are in."""
    from caa_registry.models.folder.fingerprint import weight_files
    from caa_registry.models.loading import locate

    found = []
    parts = models.verify(info.fingerprint.digest, place=places.model, adapter=places.adapter)
    for part in (part for part in parts if not parts[part]):
        which = part_name(part)
        if part == "weights":
            files = [file.name for file in weight_files(locate(places.model, info.revision)[0])]
            which += f" ({files[0]})" if len(files) == 1 else f" (in one of {', '.join(files)})"
        found.append(f"the {which} of model {info.name} {'are' if part in _MANY else 'is'} not what was recorded")
    return found


def part_name(part: str) -> str:
    """What a part of a fingerprint is called."""
    return _PARTS.get(part, part)


def loaded(models: Models, info: ModelInfo, dtype: str, places: Places) -> Model:
    """The model in ``places``, computing in ``dtype`` as before where that can be asked for."""
    asked = dtype if dtype in DTYPES else None
    return models.load(places.model, revision=info.revision, dtype=asked, adapter=places.adapter)


def of_another_kind(recorded: ModelInfo, model: ModelInfo) -> str:
    """That ``model`` cannot do what ``recorded`` did, in words; empty where its architecture is the same."""
    from caa_registry.models.folder.fingerprint import compare

    if compare(recorded, model) != "mismatch":
        return ""
    return f"{model.name} is another model: {model.architecture}, {model.n_layers} layers"


def environment_since(workspace: Workspace, thing: Thing) -> tuple[str, ...]:
    """What is otherwise about packages and machine than in the run that made ``thing``."""
    with workspace.database.read() as session:
        made = maker(session, thing)
    return tuple(environment_differences(machine(made.environment), environment())) if made else ()


def environment_differences(before: Mapping[str, Any], now: Mapping[str, Any], within: str = "") -> Iterator[str]:
    """What is otherwise, in words such as ``mlx 0.32.3 before, 0.32.4 now``."""
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from environment_differences(old, new, "" if key == "packages" else f"{key} ")
        elif old != new:
            yield f"{within}{key} {old or 'none'} before, {new or 'none'} now"


def record(
    workspace: Workspace, activity: Activity, thing: Thing, outcome: Mapping[str, Any], subject: Mapping[str, Any]
) -> int:
    """Keep what doing ``thing`` again gave as a run; its number. ``outcome``: with whether it ``holds``."""
    verdict = "holds" if outcome["holds"] else "does not hold"
    with workspace.database.write() as session:
        return record_run(
            session,
            replace(activity, parameters=outcome),
            inputs=[thing],
            subject={**subject, "verdict": verdict},
        )
