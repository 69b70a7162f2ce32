"""An evaluation whose questions are divided: over shards, each a call of its own, or over processes of one job. Each
keeps what it measures; who finds all there stores it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caa_registry import settings
from caa_registry.errors import InputError, RegistryError, UsageError
from caa_registry.evaluation.shards import ALL, MissingShardsError, Shard
from caa_registry.registry.evaluations.store import get, newest
from caa_registry.registry.evaluations.target import Target
from caa_registry.registry.models import Models
from caa_registry.registry.records import Evaluation
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.evaluation.unfinished import Header, Unfinished

# What may differ between the machines that measure and the one that merges.
_OF_THE_MACHINE = {"device", "blas", "mlx", "mlx-lm"}


@dataclass(frozen=True)
class Division:
    """What one call measures of an evaluation: a ``shard``; or nothing, where all of it is in ``files``.

    ``afresh``: an empty folder for what is measured, where nothing that was kept before is to be used.
    """

    shard: Shard = ALL
    files: tuple[Path, ...] = ()
    afresh: Path | None = None

    @classmethod
    def asked(cls, shard: Shard | None) -> Division:
        """What is asked for, or this process's part of a job's. Raises ``UsageError`` for both at once."""
        from caa_registry.engine import processes

        if processes.count() == 1:
            return cls(shard or ALL)
        if shard is not None:
            raise UsageError(
                f"shard {shard} is asked of processes that share the whole evaluation already",
                "Leave out --shard, or start single processes.",
            )
        return cls(Shard(processes.rank() + 1, processes.count()))

    @property
    def measures(self) -> bool:
        """Whether this call measures anything."""
        return not self.files

    def unfinished(self, identity: Mapping[str, Any], request: Mapping[str, Any]) -> Unfinished:
        """What is measured already. Raises ``InputError`` where files are of something else than ``identity``."""
        from caa_registry.evaluation.unfinished import Unfinished, header

        for path in self.files:
            differing = _differing(header(path).identity, _plain(identity), besides=_OF_THE_MACHINE)
            if differing:
                raise InputError(
                    f"it does not fit what is here now: {_listed(differing)} differ",
                    "Merge with the vector, questions and model that the shards were measured with.",
                    source=str(path),
                )
        unfinished = Unfinished(self.afresh or settings.unfinished(), identity, request, self.shard)
        unfinished.take(self.files)
        return unfinished

    def finish(
        self,
        workspace: Workspace,
        target: Target,
        unfinished: Unfinished,
        missing: Callable[[], Iterable[int]],
        store: Callable[[], int],
    ) -> Evaluation:
        """The evaluation, once nothing is ``missing`` (questions, by index), stored by ``store``, which gives its
        number. Of several processes the first stores; of several shards that find everything there, one.

        Raises ``MissingShardsError`` where other shards are still to come.
        """
        from caa_registry.engine import processes

        if processes.count() > 1:
            unfinished.pool()
            self._check_complete(unfinished, missing())
            return get(workspace, _stored_by_first(unfinished, store))
        if self.shard.of == 1:
            self._check_complete(unfinished, missing())
            number = store()
            unfinished.delete()
            return get(workspace, number)
        from filelock import FileLock

        kept = unfinished.path.exists()
        with FileLock(unfinished.lock, mode=0o600):
            if kept and not unfinished.path.exists():
                # Another shard was the last too, and has stored it.
                stored = newest(workspace, target.version.reference)
                if stored is not None:
                    return stored
            unfinished.look()
            self._check_complete(unfinished, missing())
            number = store()
            unfinished.delete()
        return get(workspace, number)

    def _check_complete(self, unfinished: Unfinished, missing: Iterable[int]) -> None:
        from caa_registry.evaluation.unfinished import header

        shard = header(self.files[0]).shard if self.files else self.shard
        left = shard.holding(missing)
        if not left:
            return
        names = _listed([str(each) for each in left])
        if self.files:
            given = [header(path).shard for path in self.files]
            state = "not complete" if all(each in given for each in left) else "missing"
            raise MissingShardsError(
                f"{'shard' if len(left) == 1 else 'shards'} {names} {'is' if len(left) == 1 else 'are'} {state}",
                "Run the evaluation with --shard for what is missing, and merge all files.",
                left,
            )
        raise MissingShardsError(
            f"shard {shard} is done and kept in {unfinished.path}; {names} {'is' if len(left) == 1 else 'are'} missing",
            "Where all shards share that folder, the last one stores the evaluation; else bring their files together: "
            "caa eval merge FILE ...",
            left,
            str(unfinished.path),
        )


@contextmanager
def usable(files: Sequence[Path]) -> Iterator[None]:
    """Raise ``InputError`` where the files of shards, which may come from anybody, do not hold what they should."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        named = ", ".join(map(str, files))
        raise InputError(
            f"they hold no evaluation that can be used ({type(error).__name__}: {error})",
            "Take the files that --shard kept, as they are.",
            source=named,
        ) from error


def _stored_by_first(unfinished: Unfinished, store: Callable[[], int]) -> int:
    import numpy as np

    from caa_registry.engine import processes

    number = 0
    try:
        if processes.rank() == 0:
            number = store()
    finally:
        number = int(processes.from_first(np.array([number], dtype=np.int32))[0])
    if number == 0:
        raise RegistryError("the first process stored no evaluation", "Its own message says why.")
    unfinished.delete()
    return number


def request_as_json(kind: str, target: Target, **asked: Any) -> dict[str, Any]:
    """What was asked for, by name, so that ``merge`` can ask for it again."""
    info = target.model.info
    return {
        "kind": kind,
        "vector": target.version.reference,
        "model": {
            "name": Models.where(info),
            "revision": info.revision,
            "dtype": target.model.dtype,
            "adapter": info.adapter_path,
        },
        "layers": list(target.layers),
        "multipliers": list(target.multipliers),
        **asked,
    }


def common_request(files: Sequence[Path]) -> Mapping[str, Any]:
    """What the shards in ``files`` are of, as ``request_as_json`` gave it. Raises ``UsageError`` for no file,
    ``InputError`` where one is of another evaluation than the first."""
    from caa_registry.evaluation.unfinished import header

    if not files:
        raise UsageError("no file is given", "Name the files that the shards kept.")
    first, *others = [(path, header(path)) for path in files]
    for path, other in others:
        differing = _evaluations_differ(first[1], other)
        if differing:
            raise InputError(
                f"it is a shard of another evaluation than {first[0]}: {_listed(differing)} differ",
                "Merge shards of one evaluation.",
                source=str(path),
            )
    return first[1].request


def _evaluations_differ(one: Header, other: Header) -> list[str]:
    # What a request says by name tells more than a digest does.
    return _differing(one.request, other.request) or _differing(one.identity, other.identity)


def _differing(one: Mapping[str, Any], other: Mapping[str, Any], besides: Iterable[str] = ()) -> list[str]:
    return sorted(key for key in {*one, *other} - set(besides) if one.get(key) != other.get(key))


def _plain(value: Mapping[str, Any]) -> Mapping[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(value))
    return plain


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
