"""``caa fsck``, ``backup``, ``restore``, ``delete``, ``undelete`` and ``gc``."""

from __future__ import annotations

from pathlib import Path

from cli.command_line import caa
from support.changed import change


def test_a_registry_that_is_whole(full: Path) -> None:
    done = caa("fsck")
    assert done.code == 0 and "Everything is as it was stored." in done.err
    assert [line.split()[-1] for line in done.out.splitlines()[1:]] == ["none"] * (len(done.out.splitlines()) - 1)
    found = caa("fsck", "--json", "--since", "2100-01-01").json
    assert found["holds"] and found["faults"] == [] and "vectors" not in found["checked"]


def test_a_registry_that_is_not(full: Path) -> None:
    change(full, "UPDATE score SET value = 0.5 WHERE position = 0", "UPDATE run SET actor = 'nobody' WHERE id = 1")
    done = caa("fsck")
    assert done.code == 1 and "PROBLEM: evaluation 1: its scores are not those that were stored." in done.err
    assert "PROBLEM: run 1: it is not what was stored." in done.err
    assert "Keep a copy of the registry, and restore a backup." in done.err
    found = caa("fsck", "--json")
    assert found.code == 1 and not found.json["holds"]
    assert {"check", "thing", "problem", "harmless"} == set(found.json["faults"][0])


def test_there_and_back(full: Path, tmp_path: Path) -> None:
    made = caa("backup", tmp_path / "copy.db")
    assert made.code == 0 and made.out.strip() == str(tmp_path / "copy.db") and "MB" in made.err
    (tmp_path / "copies").mkdir()
    caa("backup", tmp_path / "copies")
    kept = caa("backup", tmp_path / "copies", "--keep", "1", "--json").json
    assert len(kept["removed"]) == 1 and list((tmp_path / "copies").iterdir()) == [Path(kept["path"])]
    assert caa("backup", tmp_path / "copy.db").code == 2
    taken = caa("restore", tmp_path / "copy.db")
    assert taken.code == 2 and f"there is a registry at {full} already" in taken.err
    restored = caa("restore", tmp_path / "copy.db", "--registry", tmp_path / "new.db")
    assert restored.code == 0 and f"Restored {tmp_path / 'new.db'}:" in restored.err
    assert caa("vector", "ls", "--json", "--registry", tmp_path / "new.db").json == caa("vector", "ls", "--json").json
    assert caa("restore", tmp_path / "copy.db", "--registry", tmp_path / "x.db", "--read-only").code == 2
    assert not (tmp_path / "x.db").exists()


def test_nothing_is_written_to_what_is_only_read(full: Path) -> None:
    before = full.read_bytes()
    assert caa("vector", "ls", "--read-only").code == caa("--read-only", "vector", "ls").code == 0
    refused = caa("alias", "set", "team/s:v1", "x", "--read-only")
    assert refused.code == 1 and "is opened read-only" in refused.err
    assert full.read_bytes() == before
    gone = caa(
        "dataset", "import", "seed:sycophancy", "--name", "a/b", "--read-only", "--registry", full.parent / "no.db"
    )
    assert gone.code == 1 and not (full.parent / "no.db").exists()


def test_deleted_and_back_and_gone(full: Path) -> None:
    evaluations = [each["evaluation"] for each in caa("eval", "ls", "--json").json]
    needed = caa("delete", "vector:team/s")
    assert (
        needed.code == 2
        and "vector:team/s:v1 is needed by" in needed.err
        and f"caa delete evaluation:{evaluations[0]}" in needed.err
    )
    done = caa("delete", f"evaluation:{evaluations[0]}", "--why", "wrong split")
    assert done.code == 0 and f"caa undelete evaluation:{evaluations[0]}" in done.err
    assert caa("eval", "show", evaluations[0]).code == 1
    assert "why wrong split" in caa("log", "--limit", "1").out
    assert caa("undelete", f"evaluation:{evaluations[0]}", "--json").json == {
        "undeleted": f"evaluation:{evaluations[0]}"
    }
    assert caa("eval", "show", evaluations[0]).code == 0
    assert caa("gc", "--grace", "0").err.startswith("There is nothing to remove.")
    caa("delete", f"evaluation:{evaluations[0]}")
    assert caa("gc").err.startswith("There is nothing to remove.")
    told = caa("gc", "--grace", "0", "--dry-run")
    assert told.out == f"evaluation:{evaluations[0]}\n" and "Would remove 1 blob" in told.err
    assert caa("gc", "--grace", "0", "--json").json["blobs"] == 1
    late = caa("undelete", f"evaluation:{evaluations[0]}")
    assert late.code == 2 and "were removed by caa gc" in late.err
    assert caa("fsck").code == 0


def test_deprecated_and_not_any_more(full: Path) -> None:
    assert caa("deprecate", "vector:team/s").code == 2
    done = caa("deprecate", "vector:team/s", "--why", "wrong labels")
    assert done.code == 0 and done.err == "team/s:v1 is deprecated.\n"
    assert "Note: team/s:v1 is deprecated: wrong labels" in caa("vector", "show", "team/s").err
    assert "deprecated" in caa("vector", "ls").out
    assert caa("vector", "ls", "--json").json[0]["deprecated"] == "wrong labels"
    assert caa("deprecate", "vector:team/s", "--lift", "--json").json == {"deprecated": "team/s:v1", "lifted": True}
    assert "deprecated" not in caa("vector", "ls").out and caa("fsck").code == 0


def test_what_is_damaged_is_repaired_as_far_as_it_can_be(full: Path) -> None:
    change(full, "UPDATE score SET value = 0.5 WHERE position = 0")
    done = caa("fsck", "--repair")
    assert done.code == 1 and "Quarantined: evaluation 1." in done.err and "PROBLEM: evaluation 1:" in done.err
    found = caa("fsck", "--repair", "--json")
    assert found.code == 1 and found.json["repaired"] == {
        "indexes": False,
        "search": False,
        "quarantined": [],
    }


def test_a_registry_is_copied_elsewhere(full: Path, tmp_path: Path) -> None:
    done = caa("copy", full, tmp_path / "copy.db")
    assert done.code == 0 and done.out == "" and f"Copied to {tmp_path / 'copy.db'}: 2 datasets, 1 vector." in done.err
    assert caa("log", "head", "--json", "--registry", tmp_path / "copy.db").json == caa("log", "head", "--json").json
    told = caa("copy", full, tmp_path / "second.db", "--json").json
    assert told["registry"] == str(tmp_path / "second.db") and told["head"].startswith("sha256:")
    for arguments, words in (
        ((full, tmp_path / "copy.db"), "there is a registry at"),
        ((full, tmp_path / "x.db", "--registry", full), "takes both registries as arguments"),
        ((full, tmp_path / "x.db", "--read-only"), "cannot be made with --read-only"),
        (("", tmp_path / "x.db"), "the source of the copy is empty"),
        ((full,), "Missing argument 'DST'"),
    ):
        refused = caa("copy", *arguments)
        assert refused.code == 2 and words in refused.err, arguments
    assert not (tmp_path / "x.db").exists()
