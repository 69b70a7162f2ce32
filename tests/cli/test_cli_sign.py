"""``caa sign``, ``caa verify``, ``caa key`` and ``caa quarantine``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.command_line import caa
from support.changed import change


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the keys of ada, who is trusted, and bob, who is not."""
    trusted = caa("key", "new", tmp_path / "ada.pem")
    assert trusted.code == 0 and "Wrote" in trusted.err
    (tmp_path / "keys.toml").write_text(trusted.out)
    caa("key", "new", tmp_path / "bob.pem")
    monkeypatch.setenv("CAA_KEYS", str(tmp_path / "keys.toml"))
    return tmp_path


def test_from_a_key_to_a_verified_alias(full: Path, keys: Path) -> None:
    assert caa("verify", "vector:team/s:best").code == 1
    signed = caa("sign", "vector:team/s:best", "--key", keys / "ada.pem")
    assert signed.code == 0 and "Signed vector:team/s:best with the key " in signed.err
    found = caa("verify", "vector:team/s:best", "--require-signature", "ada")
    assert found.code == 0 and "good" in found.out and "at move 1, is what was signed" in found.err
    assert caa("alias", "set", "vector:team/s:v1", "best", "--layer", "0").code == 0
    moved = caa("verify", "vector:team/s:best")
    assert moved.code == 1 and "it is of move 1, and the alias has moved since" in " ".join(moved.out.split())


def test_each_way_to_fail_ends_with_its_code(full: Path, keys: Path) -> None:
    vector = "vector:team/s:v1"
    none = caa("verify", vector)
    assert none.code == 1 and "has no signature." in none.err
    caa("sign", vector, "--key", keys / "bob.pem")
    stranger = caa("verify", vector)
    assert stranger.code == 1 and "its key is not trusted" in stranger.out
    missing = caa("verify", vector, "--require-signature", "ada")
    assert missing.code == 1 and "MISSING: no signature with the key ada counts." in missing.err
    assert caa("verify", vector, "--require-signature", "nobody").code == 1
    assert caa("verify", "vector:team/none").code == 1
    assert caa("verify", vector, "--keys", keys / "none.toml").code == 1
    assert caa("sign", vector, "--key", keys / "none.pem").code == 1
    assert caa("sign", vector, "--key", keys / "bob.pem").code == 2  # already
    assert caa("sign", vector).code == 2
    assert caa("key", "new", keys / "ada.pem").code == 2
    caa("sign", vector, "--key", keys / "ada.pem")
    assert caa("verify", vector).code == 0
    key = caa("verify", vector, "--json").json["signatures"][1]["key"]
    assert key.startswith("sha256:")
    word = (keys / "keys.toml").read_text().split('"')[3]
    with (keys / "keys.toml").open("a") as file:
        file.write(f'[[revoked]]\nkey = "{word}"\nwhy = "it was lost"\n')
    revoked = caa("verify", vector)
    assert revoked.code == 1 and "its key was revoked: it was lost" in " ".join(revoked.out.split())
    change(full, "UPDATE blob SET data = zeroblob(length(data))")
    damaged = caa("verify", vector)
    assert (damaged.code == 1 and "do not match" in damaged.err) or "not what was stored" in damaged.err


def test_a_key_with_a_passphrase(full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAA_KEY_PASSPHRASE", "secret")
    assert caa("key", "new", tmp_path / "key.pem", "--passphrase").code == 0
    assert b"ENCRYPTED" in (tmp_path / "key.pem").read_bytes()
    assert caa("sign", "evaluation:1", "--key", tmp_path / "key.pem").code == 0
    monkeypatch.setenv("CAA_KEY_PASSPHRASE", "other")
    wrong = caa("sign", "dataset:team/s", "--key", tmp_path / "key.pem")
    assert wrong.code == 2 and "the passphrase of" in wrong.err
    monkeypatch.delenv("CAA_KEY_PASSPHRASE")
    absent = caa("sign", "dataset:team/s", "--key", tmp_path / "key.pem")
    assert absent.code == 2 and "is encrypted" in absent.err


def test_a_statement_is_printed_and_is_what_is_signed(full: Path, keys: Path) -> None:
    import base64

    printed = json.loads(caa("lineage", "vector:team/s", "--in-toto").out)
    signed = caa("sign", "vector:team/s", "--key", keys / "ada.pem", "--json").json
    assert json.loads(base64.b64decode(signed["envelope"]["payload"])) == printed
    assert caa("lineage", "evaluation:1", "--in-toto").code == 0


def test_a_vector_is_quarantined_by_hand(full: Path) -> None:
    assert caa("quarantine", "vector:team/s:v1").code == 2  # no reason
    found = caa("quarantine", "vector:team/s:v1", "--why", "it raises perplexity")
    assert found.code == 0 and "team/s:v1" in found.out and "1" in found.out
    assert "it raises perplexity" in json.dumps(caa("vector", "ls", "--json").json)
    assert "vector team/s:v1 was quarantined: it raises perplexity" in caa("eval", "ls", "--json").out
    used = caa("generate", "--vector", "team/s", "--layer", "1", "--max-tokens", "2", "Why?")
    assert used.code == 0 and "is quarantined: vector team/s:v1 was quarantined" in used.err
    again = caa("quarantine", "vector:team/s:v1", "--why", "x")
    assert again.code == 2 and "is quarantined already: it raises perplexity" in again.err
    dataset = caa("quarantine", "dataset:team/s:v1", "--why", "x")
    assert dataset.code == 2 and "caa dataset recall team/s:v1" in dataset.err
    assert caa("quarantine", "vector:team/s:v1", "--lift").code == 0
    assert caa("quarantine", "vector:team/s:v1", "--lift").code == 2
    assert '"quarantined": ""' in caa("vector", "ls", "--json").out
    lone = caa("quarantine", "evaluation:1", "--why", "a bug", "--json").json
    assert lone == {"quarantined": "evaluation:1", "vectors": [], "evaluations": [1], "lifted": False}
    assert "evaluation 1 was quarantined: a bug" in caa("eval", "ls", "--json").out
    assert caa("fsck").code == 0
