"""Reviews: decisions that stay, versions cut from them."""

from __future__ import annotations

from pathlib import Path

import pytest
from registry.registry_support import dump, jsonl, letters

from caa_registry.errors import InputError, UsageError
from caa_registry.pairs.record import dataset_digest
from caa_registry.registry.opening import open as open_registry
from caa_registry.registry.records import DatasetVersion
from caa_registry.registry.registry import Registry


def test_two_reviewers_of_fifty_pairs_interrupted(url: str, tmp_path: Path) -> None:
    with open_registry(url, actor="ada", create=False) as registry:
        version = registry.datasets.import_(jsonl(tmp_path / "a.jsonl", letters(50)), name="team/a")
        pairs = registry.datasets.pairs(version)
        # ada accepts 35 (0 to 34) and rejects 15; bob accepts 30 (5 to 34) and rejects 20: they differ on 0 to 4.
        ada = [(item.digest, "accepted" if i < 35 else "rejected", "") for i, item in enumerate(pairs)]
        bob = [(item.digest, "accepted" if 5 <= i < 35 else "rejected", "no" * (i < 5)) for i, item in enumerate(pairs)]
        assert registry.datasets.review(version, ada[:20]) == 20
    # Another process goes on, and says once more what was said.
    with open_registry(url, actor="ada", create=False) as registry:
        assert registry.datasets.review("team/a", ada[10:]) == 30
        assert registry.datasets.review("team/a", bob, reviewer="bob") == 50
        found = registry.datasets.reviews("team/a")
        assert found.counts("ada") == {"accepted": 35, "rejected": 15, "proposed": 0}
        assert found.counts("bob") == {"accepted": 30, "rejected": 20, "proposed": 0}
        (both,) = found.agreements()
        # p_o = 45/50; p_e = 35/50 * 30/50 + 15/50 * 20/50 = 0.42 + 0.12 = 0.54.
        assert (both.n, both.same) == (50, 45)
        assert both.kappa == pytest.approx((0.9 - 0.54) / (1 - 0.54))
        assert [d[0].pair for d in found.disagreements()] == sorted(item.digest for item in pairs[:5])
        wanted = {"all": pairs[5:35], "majority": pairs[5:35], "any": pairs[:35]}
        for rule, kept in wanted.items():
            curated = registry.datasets.cut("team/a", rule=rule, name=f"team/{rule}")  # type: ignore[arg-type]
            assert curated.version is not None
            assert curated.version.digest == dataset_digest("pairs", kept)
        only = registry.datasets.cut("team/a", reviewers=["ada"], name="team/ada").version
        assert only is not None and only.digest == dataset_digest("pairs", pairs[:35])
        # The recipe says which pairs, so what is reviewed later does not change it.
        registry.datasets.review("team/a", [(item.digest, "rejected", "") for item in pairs])
        assert all(step.same for step in registry.datasets.replay("team/all"))
        assert only.source.why == "accepted in review by all of ada"


def test_reviews_hold_for_later_versions(registry: Registry, tmp_path: Path) -> None:
    rows = letters(6)
    first = registry.datasets.import_(jsonl(tmp_path / "a.jsonl", rows), name="team/a")
    pairs = registry.datasets.pairs(first)
    registry.datasets.review(first, [(pairs[0].digest, "accepted", ""), (pairs[5].digest, "rejected", "bad")])
    later = registry.datasets.import_(
        jsonl(tmp_path / "b.jsonl", [*rows[:4], *letters(1, about="that")]), name="team/a"
    )
    assert [d.pair for d in registry.datasets.reviews(later).decisions] == [pairs[0].digest]
    assert registry.datasets.reviews(later).pairs == 5
    # Another dataset with the same pair is another matter.
    other = registry.datasets.import_(jsonl(tmp_path / "a.jsonl", rows), name="team/b")
    assert registry.datasets.reviews(other).decisions == []


def test_a_decision_can_be_taken_back(registry: Registry, pairs: DatasetVersion) -> None:
    (one, *_) = registry.datasets.pairs(pairs)
    registry.datasets.review(pairs, [(one.digest, "rejected", "bad")])
    assert registry.datasets.review(pairs, [(one.digest, "proposed", "")]) == 1
    found = registry.datasets.reviews(pairs)
    assert found.of("ada") == {} and found.counts("ada") == {"proposed": 8}
    assert registry.datasets.review(pairs, [(one.digest, "proposed", "")]) == 0


def test_what_is_wrong_stores_nothing(registry: Registry, pairs: DatasetVersion, tmp_path: Path) -> None:
    (one, two, *_) = registry.datasets.pairs(pairs)
    (path,) = tmp_path.glob("*.db")
    before = dump(f"sqlite:///{path}")
    for said, reviewer, error in (
        ([(one.digest, "accepted", ""), (two.digest, "splendid", "")], "ada", UsageError),
        ([(one.digest, "accepted", ""), (f"sha256:{'0' * 64}", "accepted", "")], "ada", InputError),
        ([(one.digest, "accepted", "")], "  ", UsageError),
    ):
        with pytest.raises(error):
            registry.datasets.review(pairs, said, reviewer=reviewer)
    with pytest.raises(UsageError, match="is accepted"):
        registry.datasets.cut(pairs)
    registry.datasets.review(pairs, [])
    assert dump(f"sqlite:///{path}") == before
    registry.datasets.review(pairs, [(one.digest, "accepted", "")])
    with pytest.raises(UsageError, match="Reviewers: ada") as caught:
        registry.datasets.cut(pairs, reviewers=["bob"])
    assert "bob reviewed no pair" in caught.value.message
    with pytest.raises(UsageError, match="no rule 'most'"):
        registry.datasets.cut(pairs, rule="most")  # type: ignore[arg-type]


def test_a_sheet_goes_out_and_comes_back(registry: Registry, tmp_path: Path) -> None:
    rows = [*letters(3), {"prompt": "=1+1", "positive": "+yes", "negative": '@no, "never"\n'}]
    version = registry.datasets.import_(jsonl(tmp_path / "a.jsonl", [*rows, rows[0]]), name="team/a")
    pairs = registry.datasets.pairs(version)
    registry.datasets.review(version, [(pairs[0].digest, "rejected", "too easy")])
    sheet = tmp_path / "sheet.csv"
    assert registry.datasets.review_sheet(version, sheet) == 4
    text = sheet.read_text(encoding="utf-8-sig")
    assert "'=1+1" in text and "'+yes" in text and "rejected,too easy" in text
    with pytest.raises(UsageError, match="exists"):
        registry.datasets.review_sheet(version, sheet)
    filled = text.replace("(B),(A),,", "(B),(A),Needs Work,hm").replace("rejected,too easy", "accepted,")
    sheet.write_text(filled, encoding="utf-8")
    assert registry.datasets.review_from(version, sheet, reviewer="bob") == filled.count("Needs Work") + 1
    assert registry.datasets.reviews(version).of("bob")[pairs[0].digest].state == "accepted"
    said = filled.replace("Needs Work", "Reject").replace(",accepted,", ",ACCEPT,")
    sheet.write_text(said, encoding="utf-8")
    assert registry.datasets.review_from(version, sheet, reviewer="dora") == filled.count("Needs Work") + 1
    assert registry.datasets.reviews(version).counts("dora") == {
        "accepted": 1, "rejected": filled.count("Needs Work"), "proposed": 3 - filled.count("Needs Work"),
    }  # fmt: skip
    for bad, said in (
        (filled.replace("Needs Work", "splendid"), "field 'state': 'splendid' is not a state"),
        (filled.replace("digest,", "id,"), "it has no column 'digest'"),
        (filled.replace(pairs[1].digest, pairs[0].digest), "the pair is in row 1 too"),
        (filled.replace(pairs[0].digest, f"sha256:{'0' * 64}"), "holds no pair"),
        (filled.replace(",", ";"), "separated by semicolons"),
    ):
        sheet.write_text(bad, encoding="utf-8")
        with pytest.raises(InputError, match=said):
            registry.datasets.review_from(version, sheet, reviewer="cleo")
    assert "cleo" not in registry.datasets.reviews(version).reviewers
