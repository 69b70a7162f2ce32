"""Tags, descriptions, messages and names: what counts now is said everywhere alike, and every change is an event."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from registry.registry_support import events
from sqlalchemy import text

import caa_registry as caa
from caa_registry.errors import CaaError, ConflictError, InputError, NotFoundError, UsageError
from caa_registry.registry.maintenance.signing.keys import new_key
from caa_registry.registry.opening import open as open_registry
from caa_registry.registry.records import PlanSettings, Recommendation
from caa_registry.registry.registry import Registry

if TYPE_CHECKING:
    from caa_registry.models.model import Model

PAIRS = [(f"Is {i} good?\n (A) Yes\n (B) No", "(A)", "(B)") for i in range(4)]


@pytest.fixture
def shared(url: str) -> Iterator[Registry]:
    """A dataset ``team/set`` of two versions, on either database."""
    with open_registry(url, actor="ada", create=False) as registry:
        registry.datasets.add("team/set", pairs=PAIRS[:2], message="small")
        registry.datasets.add("team/set", pairs=PAIRS)
        yield registry


@pytest.fixture
def copy(tmp_path: Path, whole: Path) -> Iterator[Registry]:
    """A copy of a registry with some of everything."""
    with open_registry(str(shutil.copy(whole, tmp_path / "copy.db")), actor="bea", create=False) as registry:
        yield registry


def told(registry: Registry) -> list[tuple[str, dict[str, Any]]]:
    """The events, without digests and what is empty."""
    return [(action, {k: v for k, v in subject.items() if k != "digest" and v}) for action, subject in events(registry)]


# Tags


def test_a_tag_is_of_one_version_and_every_change_an_event(shared: Registry) -> None:
    shared.tags.set("team/set:v1", {"status": "draft", "owner": "ada"})
    now = shared.tags.set("team/set:v1", {"status": "reviewed", "owner": "ada"})
    assert [(tag.reference, tag.key, tag.value) for tag in now] == [
        ("dataset:team/set:v1", "owner", "ada"),
        ("dataset:team/set:v1", "status", "reviewed"),
    ]
    shared.tags.remove("team/set:v1", "owner")
    assert shared.datasets.get("team/set:v1").tags == {"status": "reviewed"}
    assert shared.datasets.get("team/set").tags == {}
    version = {"dataset": "team/set:v1"}
    assert told(shared)[2:] == [
        ("set-tag", {**version, "key": "status", "value": "draft"}),
        ("set-tag", {**version, "key": "owner", "value": "ada"}),
        ("set-tag", {**version, "key": "status", "value": "reviewed", "before": "draft"}),
        ("remove-tag", {**version, "key": "owner", "before": "ada"}),
    ]
    assert shared.fsck().faults == ()


def test_listings_are_filtered_by_all_tags(shared: Registry) -> None:
    shared.datasets.add("team/other", pairs=PAIRS[:1])
    shared.tags.set("team/set:v1", {"status": "reviewed", "owner": "ada"})
    shared.tags.set("team/set:v2", {"status": "draft"})
    shared.tags.set("team/other", {"status": "reviewed"})
    shared.aliases.set("team/set:v1", "good")
    shared.aliases.set("team/set:v2", "new")

    def found(all_versions: bool = False, **tags: str) -> list[str]:
        return [each.reference for each in shared.datasets.ls(tags=tags, all_versions=all_versions)]

    assert found(status="reviewed") == ["team/other:v1", "team/set:v1"]
    assert found(status="reviewed", owner="ada") == ["team/set:v1"]
    assert found(status="reviewed", owner="bea") == found(state="reviewed") == found(status="\x00") == []
    assert found(True) == ["team/other:v1", "team/set:v1", "team/set:v2"]
    page = shared.datasets.ls(tags={"status": "reviewed"}, limit=1)
    assert ([each.reference for each in page], page.total) == (["team/other:v1"], 2)
    assert [alias.alias for alias in shared.aliases.ls(tags={"status": "draft"})] == ["new"]
    assert shared.tags.ls(limit=2).total == 4 and len(shared.tags.ls("team/set:v1")) == 2


def test_vectors_their_evaluations_and_models_are_listed_by_their_tags(copy: Registry) -> None:
    def references(tags: dict[str, str]) -> list[str]:
        return [each.reference for each in copy.vectors.ls(tags=tags)]

    assert references({"status": "reviewed"}) == ["team/praise:v1"]
    copy.tags.set("vector:team/theirs:v2", {"status": "reviewed", "of": "a colleague"})
    assert references({"status": "reviewed"}) == ["team/praise:v1", "team/theirs:v2"]
    one = {"of": "a colleague"}
    assert references(one) == ["team/theirs:v2"]
    assert copy.evaluations.ls(tags=one).total == 0 < copy.evaluations.ls(tags={"status": "reviewed"}, limit=1).total
    assert {each.vector.reference for each in copy.evaluations.leaderboard(tags={"status": "reviewed"})} == {
        "team/praise:v1"
    }
    assert len(copy.models.ls(tags=one)) == 1 and len(copy.models.ls(tags={"of": "nobody"}, limit=3)) == 0


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        ({}, "no tag to set"),
        ({"": "x"}, "cannot be the key"),
        ({"a b": "x"}, "cannot be the key"),
        ({"a=b": "x"}, "cannot be the key"),
        ({"é": "x"}, "cannot be the key"),
        ({"k" * 129: "x"}, "cannot be the key"),
        ({"good": "x", "bad": " "}, "tag bad has no value"),
        ({"good": "x", "bad": "two\nlines"}, "is no label"),
        ({"good": "x", "bad": "x" * 1001}, "is no label"),
        ({"good": "x", "bad": "\x00"}, "NUL"),
    ],
)
def test_a_bad_tag_changes_nothing(shared: Registry, tags: dict[str, str], why: str) -> None:
    before = events(shared)
    with pytest.raises((UsageError, InputError), match=why):
        shared.tags.set("team/set", tags)
    with pytest.raises(NotFoundError, match="has no tag 'a'"):
        shared.tags.remove("team/set", "a")
    with pytest.raises(NotFoundError):
        shared.tags.set("team/none", {"a": "b"})
    assert events(shared) == before and len(shared.tags.ls()) == 0


# Descriptions


def test_what_is_described_counts_everywhere_and_changes_no_digest(copy: Registry, tmp_path: Path) -> None:
    before = copy.datasets.get("team/dishes:v1")
    vector = copy.vectors.get("team/praise:v1")
    now = copy.describe("dataset:team/dishes:v1", text=" What was eaten. ", licence="CC-BY-4.0", behavior="liking")
    assert (now.description, now.behavior, now.digest) == ("What was eaten.", "liking", before.digest)
    assert isinstance(now, caa.DatasetVersion) and now.licence == "CC-BY-4.0" != before.licence
    (listed,) = [each for each in copy.datasets.ls(all_versions=True) if each.reference == "team/dishes:v1"]
    assert (listed.licence, listed.behavior, listed.description) == (now.licence, now.behavior, now.description)
    assert "CC-BY-4.0" in copy.datasets.card("team/dishes:v1") and "CC-BY-4.0" in copy.reports.card("team/praise:v1")
    assert copy.vectors.lock("team/praise:v1").dataset.licence == "CC-BY-4.0"
    assert copy.datasets.recipe("team/dishes:v1")["steps"][0]["licence"] == "CC-BY-4.0"
    # The behavior of what was computed from it is its.
    after = copy.vectors.get("team/praise:v1")
    assert (after.behavior, after.digest) == ("liking", vector.digest)
    assert {each.name for each in copy.vectors.ls(behavior="liking")} == {"team/praise"}
    # A text is about all versions, the rest about one; what is made of it takes what counts.
    other = copy.datasets.get("team/dishes:v2")
    assert (other.description, other.behavior) == ("What was eaten.", "praise")
    made = copy.datasets.curate(caa.Sample(3), "team/dishes:v1", name="team/some").version
    assert made is not None and (made.licence, made.behavior) == ("CC-BY-4.0", "liking")
    assert copy.fsck().faults == ()
    assert copy.verify("dataset:team/dishes:v1").digest == before.digest


def test_each_thing_said_is_an_event_and_the_same_again_is_told(
    shared: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    shared.describe("team/set", text="Pairs.", licence="MIT", behavior="goodness")
    version = {"dataset": "team/set:v2"}
    said = [
        ("describe", {"kind": "dataset", "name": "team/set", "text": "Pairs."}),
        ("describe", {**version, "licence": "MIT"}),
        ("describe", {**version, "behavior": "goodness", "before": "set"}),
    ]
    assert told(shared)[2:] == said
    shared.describe("team/set", text="Pairs.", licence="MIT", behavior="goodness")
    assert told(shared)[2:] == said
    assert [record.getMessage() for record in caplog.records] == [
        "The text about team/set is 'Pairs.' already.",
        "The licence of team/set:v2 is 'MIT' already.",
        "The behavior of team/set:v2 is 'goodness' already.",
    ]
    taken_back = shared.describe("team/set", text="", licence="", behavior="")
    assert (taken_back.description, taken_back.behavior) == ("", "set")
    assert isinstance(taken_back, caa.DatasetVersion) and taken_back.licence == ""
    assert [event.action for event in shared.audit.ls("team/set:v2")].count("describe") == 6
    assert [event.action for event in shared.audit.ls("team/set:v1")].count("describe") == 2
    assert shared.fsck().faults == ()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({}, "nothing to say"),
        ({"text": "x" * 10_001}, "at most 10,000"),
        ({"text": "ok", "licence": "two\nlines"}, "several lines"),
        ({"text": "ok", "licence": "x" * 201}, "at most 200"),
        ({"text": "ok", "behavior": "No Name"}, "is not a name"),
        ({"text": "ok", "licence": "\x00"}, "NUL"),
    ],
)
def test_a_bad_description_changes_nothing(shared: Registry, said: dict[str, str], why: str) -> None:
    before = events(shared)
    with pytest.raises((UsageError, InputError), match=why):
        shared.describe("team/set", **said)
    assert events(shared) == before


def test_a_vector_has_the_licence_of_its_pairs_and_their_behavior(copy: Registry) -> None:
    before = events(copy)
    with pytest.raises(UsageError, match="the licence is that of its pairs") as caught:
        copy.describe("team/praise:v1", licence="MIT")
    assert "caa describe dataset:team/dishes:v1 --licence" in str(caught.value)
    with pytest.raises(UsageError, match="the behavior of team/praise:v1 is that of its pairs, team/dishes:v1"):
        copy.describe("team/praise:v1", text="x", behavior="other")
    assert events(copy) == before
    assert copy.describe("vector:team/theirs:v2", behavior="thanking").behavior == "thanking"
    assert [each.reference for each in copy.vectors.ls(behavior="thanking")] == ["team/theirs:v2"]
    assert copy.vectors.get("team/theirs:v1").behavior == "gratitude"


def test_an_import_says_which_of_its_options_have_no_effect(shared: Registry, caplog: pytest.LogCaptureFixture) -> None:
    again = shared.datasets.add("team/set", pairs=PAIRS, licence="MIT", behavior="goodness", message="why")
    assert again.existing and again.licence == ""
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "team/set:v2 was there already, and its licence stays unknown. To change it: caa describe "
        "dataset:team/set:v2 --licence MIT",
        "team/set:v2 was there already, and its behavior stays 'set'. To change it: caa describe "
        "dataset:team/set:v2 --behavior goodness",
        "team/set:v2 was there already, and keeps no message. To say more: caa describe dataset:team/set --text ...",
    ]
    shared.describe("team/set", licence="MIT", behavior="goodness")
    caplog.clear()
    shared.datasets.add("team/set", pairs=PAIRS, licence="MIT", behavior="goodness")
    assert caplog.records == []


def test_versions_say_who_made_them_and_why(url: str, model: Model, caplog: pytest.LogCaptureFixture) -> None:
    with open_registry(url, actor="ada", create=False) as registry:
        registry.datasets.add("team/set", pairs=PAIRS, message="first")
        registry.vectors.compute("team/v", dataset="team/set", model=model, message="all layers")
    with open_registry(url, actor="bea", create=False) as registry:
        registry.datasets.add("team/set", pairs=PAIRS[:3], message="fewer")
        registry.vectors.compute("team/v", dataset="team/set", model=model, layers=[0])
        registry.vectors.compute("team/v", dataset="team/set", model=model, layers=[0], message="late")
        assert "team/v:v2 was there already, and keeps no message" in caplog.records[-1].getMessage()
        combined = registry.vectors.combine("team/w", ["team/v:v2"], operation="normalize", message="at length 1")
        assert (combined.actor, combined.message) == ("bea", "at length 1")
        made = [(each.number, each.actor, each.message) for each in registry.vectors.log("team/v")]
        assert made == [(2, "bea", ""), (1, "ada", "all layers")]
        logged = [(each.version.number, each.actor, each.version.message) for each in registry.datasets.log("team/set")]
        assert logged == [(2, "bea", "fewer"), (1, "ada", "first")]
        every = registry.vectors.ls(all_versions=True)
        assert [each.actor for each in every] == ["ada", "bea", "bea"]
        with pytest.raises(InputError, match="message"):
            registry.vectors.compute("team/x", dataset="team/set", model=model, message="\x00")
        assert registry.fsck().faults == ()


# Names


def test_a_new_name_is_that_of_everything(shared: Registry) -> None:
    shared.tags.set("team/set:v1", {"status": "reviewed"})
    shared.aliases.set("team/set:v1", "good")
    shared.describe("team/set", text="Pairs.")
    assert shared.rename("team/set", "team/pairs") == "dataset:team/pairs"
    good = shared.datasets.get("team/pairs:good")
    assert (good.reference, good.tags, good.description) == ("team/pairs:v1", {"status": "reviewed"}, "Pairs.")
    shared.datasets.add("team/pairs", pairs=PAIRS[:3])
    assert [event.action for event in shared.audit.ls("team/pairs")] == [
        *("import", "rename", "describe", "set-alias", "set-tag", "import", "import")
    ]
    assert [event.action for event in shared.audit.ls("team/pairs:v1")] == [
        *("rename", "describe", "set-alias", "set-tag", "import")
    ]
    with pytest.raises(NotFoundError, match="no dataset team/set any more: it was renamed") as caught:
        shared.datasets.get("team/set:good")
    assert caught.value.hint == "Write team/pairs:good."
    with pytest.raises(NotFoundError, match="it was renamed"):
        shared.delete("team/set:v1")
    assert shared.fsck().faults == ()
    shared.rename("team/pairs", "team/set")
    assert shared.datasets.get("team/set:good").number == 1
    assert shared.fsck().faults == ()


def test_a_name_that_became_free_is_given_again_and_nothing_is_confused(shared: Registry) -> None:
    shared.aliases.set("team/set:v1", "good")
    shared.tags.set("team/set:v1", {"of": "the first"})
    shared.rename("team/set", "team/old")
    shared.datasets.add("team/set", pairs=PAIRS[2:])
    shared.aliases.set("team/set:v1", "good")
    shared.tags.set("team/set:v1", {"of": "the second"})
    assert len(shared.aliases.log("team/set:good")) == len(shared.aliases.log("team/old:good")) == 1
    assert len(shared.audit.ls("team/set")) == 3 and len(shared.audit.ls("team/old")) == 5
    shared.rename("team/set", "team/new")
    shared.rename("team/old", "team/set")
    assert shared.datasets.get("team/set:good").tags == {"of": "the first"}
    assert [move.name for move in shared.aliases.log("team/new")] == ["team/set"]
    assert shared.datasets.get("team/new:good").tags == {"of": "the second"}
    assert shared.fsck().faults == ()


@pytest.mark.parametrize(
    ("reference", "name", "why"),
    [
        ("team/set:v1", "team/x", "names one version"),
        ("team/set@sha256:12345678", "team/x", "names one version"),
        ("team/set", "team/set", "is called so already"),
        ("team/set", "team/other", "there is a dataset team/other already"),
        ("team/set", "team/v", "there is a vector team/v already"),
        ("team/set", "Team/X", "is not a name"),
        ("team/set", "-x", "cannot be the name of something new"),
        ("team/set", "a" * 230, "is not a name"),
        ("team/none", "team/x", "there is no dataset or vector team/none"),
        ("vector:team/set", "team/x", "there is no vector team/set"),
    ],
)
def test_a_name_that_cannot_be_given_changes_nothing(
    registry: Registry, model: Model, reference: str, name: str, why: str
) -> None:
    registry.datasets.add("team/set", pairs=PAIRS)
    registry.datasets.add("team/other", pairs=PAIRS)
    registry.vectors.compute("team/v", dataset="team/set", model=model)
    before = events(registry)
    with pytest.raises(CaaError, match=why) as caught:
        registry.rename(reference, name)
    assert "\n" not in caught.value.message
    assert events(registry) == before
    assert registry.fsck().faults == ()


def test_a_dataset_and_a_vector_of_one_name_can_both_be_renamed(registry: Registry, model: Model) -> None:
    registry.datasets.add("team/set", pairs=PAIRS)
    registry.datasets.add("team/other", pairs=PAIRS)
    registry.vectors.compute("team/set", dataset="team/set", model=model)
    with pytest.raises(UsageError, match="team/set is a dataset and a vector"):
        registry.rename("team/set", "team/new")
    with pytest.raises(UsageError, match="there is a dataset team/other already"):
        registry.rename("vector:team/set", "team/other")
    registry.rename("vector:team/set", "team/new")
    registry.rename("team/new", "team/set")
    registry.rename("vector:team/set", "team/new")
    registry.rename("team/set", "team/new")
    assert registry.vectors.get("team/new").dataset == registry.datasets.get("team/new").reference == "team/new:v1"
    assert registry.fsck().faults == ()


def test_a_behavior_that_is_the_name_changes_with_it_and_that_is_told(
    shared: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    shared.rename("team/set", "team/goodness")
    (record,) = caplog.records
    assert "The behavior of team/goodness is now goodness" in record.getMessage()
    assert record.getMessage().endswith("caa describe dataset:team/goodness --behavior set")
    shared.describe("team/goodness:v1", behavior="set")
    shared.describe("team/goodness:v2", behavior="set")
    caplog.clear()
    shared.rename("team/goodness", "team/other")
    assert caplog.records == [] and shared.datasets.get("team/other").behavior == "set"


def test_signatures_hold_after_a_new_name(copy: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public = new_key(tmp_path / "bea.pem")
    (tmp_path / "keys.toml").write_text(f'[[trusted]]\nname = "bea"\nkey = "{public.word}"\n')
    monkeypatch.setenv("CAA_KEYS", str(tmp_path / "keys.toml"))
    for reference in ("vector:team/praise:v1", "vector:team/praise:best", "dataset:team/dishes:v1", "evaluation:1"):
        copy.sign(reference, tmp_path / "bea.pem")
    copy.rename("vector:team/praise", "team/flattery")
    copy.rename("dataset:team/dishes", "team/meals")
    for reference in ("vector:team/flattery:v1", "vector:team/flattery:best", "dataset:team/meals:v1", "evaluation:1"):
        found = copy.verify(reference)
        assert [each.problem for each in found.signatures if each.name == "bea"] == [""], reference
    copy.sign("vector:team/flattery:v1", tmp_path / "bea.pem")
    assert [each.problem for each in copy.verify("vector:team/flattery:v1").signatures if each.name == "bea"] == [
        "",
        "",
    ]
    assert copy.fsck().faults == ()


def test_a_plan_runs_after_a_new_name(registry: Registry, model: Model) -> None:
    registry.datasets.add(
        "team/set", pairs=[caa.PairItem(caa.Pair(*pair), split).pair for pair in PAIRS for split in "g"]
    )
    registry.datasets.curate(caa.Split("0.5"), "team/set")
    registry.vectors.compute("team/v", dataset="team/set", model=model)
    plan = registry.plans.make("team/plan", "team/v", model=model, layers=[1], settings=PlanSettings(draws=19))
    registry.rename("team/set", "team/pairs")
    registry.rename("team/v", "team/w")
    # Others get the old names.
    registry.datasets.add("team/set", pairs=PAIRS[:1])
    ran = registry.plans.run(plan, model=model)
    assert (ran.vector, ran.standing) == ("team/w:v1", ran.standing)
    assert registry.plans.get("team/plan").terms.dataset.name == "team/set"
    assert registry.plans.outcome(ran) is not None
    assert registry.fsck().faults == ()


def test_a_name_that_was_not_changed_by_caa_is_found(shared: Registry) -> None:
    with shared.database.write() as session:
        session.execute(text("UPDATE dataset SET name = 'team/stolen'"))
    assert {fault.check for fault in shared.fsck().damage} >= {"rows", "events"}


# Aliases


def test_of_two_who_move_an_alias_one_is_told(url: str) -> None:
    with open_registry(url, actor="ada", create=False) as registry:
        for number in range(1, 4):
            registry.datasets.add("team/set", pairs=PAIRS[:number])
        registry.aliases.set("team/set:v1", "good", expect="none")
        told: list[str] = []
        ready = threading.Barrier(2)

        def move(actor: str, version: str) -> None:
            with open_registry(url, actor=actor, create=False) as own:
                ready.wait()
                try:
                    own.aliases.set(f"team/set:{version}", "good", expect="v1")
                except ConflictError as error:
                    told.append(error.message)

        people = [threading.Thread(target=move, args=each) for each in (("bea", "v2"), ("cid", "v3"))]
        for person in people:
            person.start()
        for person in people:
            person.join()
        (message,) = told
        now = registry.aliases.get("team/set:good")
        assert (
            now is not None
            and message == f"team/set:good points at {now.target.rpartition(':')[2]}, and it was expected at v1"
        )
        assert [move.after for move in registry.aliases.log("team/set:good")] == [now.target.rpartition(":")[2], "v1"]


@pytest.mark.parametrize("expect", ["3", "v0", "latest", "team/set:v1", "", "V1"])
def test_what_is_expected_is_the_number_of_a_version(shared: Registry, expect: str) -> None:
    with pytest.raises(UsageError, match="is not the number of a version"):
        shared.aliases.set("team/set:v1", "good", expect=expect)
    with pytest.raises(ConflictError, match="there is no alias team/set:good, and it was expected at v2"):
        shared.aliases.set("team/set:v1", "good", expect="v2")
    assert len(shared.aliases.ls()) == 0


def test_a_protected_alias_moves_and_goes_only_where_somebody_says_so(shared: Registry) -> None:
    assert shared.aliases.set("team/set:v1", "good", protect=True).protected
    before = events(shared)
    for change in (
        lambda: shared.aliases.set("team/set:v2", "good"),
        lambda: shared.aliases.set("team/set:v2", "good", replace=True, expect="v1"),
        lambda: shared.aliases.set("team/set:v1", "good", protect=False),
        lambda: shared.aliases.remove("team/set:good"),
    ):
        with pytest.raises(UsageError, match="team/set:good is protected"):
            change()
    assert events(shared) == before
    assert shared.aliases.set("team/set:v2", "good", override=True).protected
    assert shared.fsck().faults == ()
    assert not shared.aliases.set("team/set:v1", "good", override=True, protect=False).protected
    shared.aliases.remove("team/set:good")
    moves = [(move.actor, move.before, move.after) for move in shared.aliases.log("team/set")]
    assert moves == [("ada", "v1", ""), ("ada", "v2", "v1"), ("ada", "v1", "v2"), ("ada", "", "v1")]
    assert len(shared.aliases.log("team/set:never")) == 0
    assert shared.fsck().faults == ()


def test_no_calibration_moves_a_protected_alias(copy: Registry) -> None:
    copy.aliases.set("vector:team/praise:v1", "best", Recommendation((1,)), replace=True, protect=True)
    before = events(copy)
    with pytest.raises(UsageError, match="team/praise:best is protected, and a calibration would move it"):
        copy.evaluations.calibrate("team/praise:v1", model="demo", layers=[1])
    assert events(copy) == before


def test_moves_are_told_with_what_they_recommended(copy: Registry) -> None:
    moves = copy.aliases.log("vector:team/praise:best")
    assert moves[-1].recommendation == Recommendation((1,), 1.5)
    assert moves[-1].before == "" and moves[-1].after == "v1"
    for bad in ("team/praise:v1", "team/praise@sha256:12345678"):
        with pytest.raises(UsageError, match="names a version, not an alias"):
            copy.aliases.log(bad)
    with pytest.raises(NotFoundError):
        copy.aliases.log("team/nothing:best")
