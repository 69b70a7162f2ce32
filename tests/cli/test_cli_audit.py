"""``caa log`` and ``caa run``."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from cli.command_line import caa

from caa_registry.pairs.curation.choosing import Sample
from caa_registry.registry.opening import open as open_registry


def test_the_log_is_listed_with_and_without_a_verb(full: Path) -> None:
    everything = caa("log", "--json").json
    assert [event["id"] for event in everything] == list(range(len(everything), 0, -1))
    assert caa("log", "ls", "--json").json == everything
    of_vector = caa("log", "team/s", "--json").json
    assert 0 < len(of_vector) < len(everything)
    assert all("team/s" in str(event["subject"]) for event in of_vector)
    table = caa("log", "team/s")
    assert table.code == 0 and "compute" in table.out and "vector team/s:v1" in table.out
    assert caa("log", "--by", "nobody").err.startswith("No such events.")
    assert caa("log", "--since", "2100-01-01", "--json").json == []
    assert caa("log", "--limit", "1").err == f"First 1 of {len(everything)}; --all shows all.\n"
    assert caa("log", "team/none").code == 1
    assert caa("log", "--since", "yesterday").code == 2


def test_the_log_is_checked(full: Path) -> None:
    head = caa("log", "head")
    digest = head.out.strip()
    assert head.code == 0 and "caa log verify --head" in head.err
    checked = caa("log", "verify")
    assert checked.code == 0 and digest in checked.err
    events = len(caa("log", "--json").json)
    assert f"that of event {events}." in caa("log", "verify", "--head", digest).err
    assert caa("log", "verify", "--head", digest, "--json").json == {"events": events, "head": digest, "place": events}
    with sqlite3.connect(full) as connection:
        (trigger,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'keep_event_delete'").fetchone()
        connection.execute("DROP TRIGGER keep_event_delete")
        connection.execute("DELETE FROM event WHERE id = (SELECT max(id) FROM event)")
        # By somebody who knows where the head is kept.
        last = "(SELECT digest FROM event ORDER BY id DESC)"
        connection.execute(f"UPDATE meta SET value = {last} WHERE key = 'audit_head'")
        connection.execute(trigger)
    assert caa("log", "verify").code == 0
    found = caa("log", "verify", "--head", digest)
    assert found.code == 1 and f"none of the {events - 1} events has the digest" in found.err


def test_runs_are_listed_and_shown(full: Path) -> None:
    listed = caa("run", "ls", "--json").json
    compute = next(run for run in listed if run["kind"] == "compute")
    assert {"kind": "vector", "reference": "team/s:v1"} in compute["outputs"]
    assert caa("run", "show", str(compute["id"]), "--json").json == compute
    shown = caa("run", "show", str(compute["id"]))
    assert "vector team/s:v1" in shown.out and "packages:" in shown.out
    assert "evaluation 1" in caa("run", "ls", "--kind", "evaluate").out
    assert caa("run", "ls", "--kind", "none").err.startswith("No such runs.")
    assert caa("run", "show", "99").code == 1


def test_lineage_is_printed_as_a_graph_and_drawn(full: Path, tmp_path: Path) -> None:
    graph = caa("lineage", "vector:team/s", "--mermaid")
    assert graph.code == 0 and graph.out.startswith("graph LR\n") and "vector team/s:v1" in graph.out
    for name, begin in (("x.png", b"\x89PNG"), ("x.svg", b"<?xml")):
        drawn = caa("lineage", "vector:team/s", "--out", tmp_path / name)
        assert drawn.code == 0 and (tmp_path / name).read_bytes().startswith(begin), drawn.err
    assert caa("lineage", "vector:team/s", "--out", tmp_path / "x.png").code == 2
    assert caa("lineage", "vector:team/s", "--out", tmp_path / "x.gif").code == 2


def test_a_scripts_run_and_a_failed_one_are_shown(full: Path) -> None:
    with open_registry(str(full)) as registry:
        with registry.run("sweep", parameters={"tries": 2}):
            registry.datasets.curate(Sample(2), "team/s", name="team/few")
        with pytest.raises(ZeroDivisionError), registry.run("divide"):
            _ = 1 / 0
    listed = caa("run", "ls").out
    assert "script (failed)" in listed
    failed, step, curated = (each["id"] for each in caa("run", "ls", "--json").json[:3])
    assert "failed: ZeroDivisionError: division by zero" in caa("run", "show", failed).out
    shown = caa("run", "show", step).out
    assert f"runs     {curated}" in shown and "used     dataset team/s:v1" in shown and "token:" not in shown
    assert f"within   run {step}" in caa("run", "show", curated).out
