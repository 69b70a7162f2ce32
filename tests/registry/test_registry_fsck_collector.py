"""A check keeps the garbage collector from what a program holds already, and leaves it as it was."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

import caa_registry as caa


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


def counts_of(path: Path) -> list[int]:
    """How many objects are set aside, each time that the check of a registry says how far it is."""
    counts: list[int] = []
    with caa.open(str(path), read_only=True) as registry:
        registry.fsck(progress=lambda _done, _total: counts.append(gc.get_freeze_count()))
    return counts


def test_what_is_there_is_set_aside_while_a_registry_is_checked(whole: Path) -> None:
    assert min(counts_of(whole)[:-1]) > 0
    assert gc.get_freeze_count() == 0


def test_it_is_given_back_when_a_check_is_interrupted(whole: Path) -> None:
    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with caa.open(str(whole), read_only=True) as registry, pytest.raises(KeyboardInterrupt):
        registry.fsck(progress=interrupt)
    assert gc.get_freeze_count() == 0


def test_what_a_program_has_set_aside_itself_stays_there(whole: Path) -> None:
    gc.freeze()
    before = gc.get_freeze_count()
    counts_of(whole)
    assert 0 < gc.get_freeze_count() <= before  # some of it may have gone by now
