"""What is signed is what is stored, each way in which it is not is an answer of its own, and other programs agree."""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select
from support.changed import change

import caa_registry as caa
from caa_registry.catalog import models as t
from caa_registry.catalog.integrity.row_digests import digest_of_row
from caa_registry.errors import InputError, IntegrityError, NotFoundError, PassphraseError, UsageError
from caa_registry.registry.maintenance.signing.envelope import opened, sealed
from caa_registry.registry.maintenance.signing.keys import (
    PublicKey,
    new_key,
    read_private,
    read_public,
)
from caa_registry.registry.records import Recommendation, Signed
from caa_registry.registry.registry import Registry

if TYPE_CHECKING:
    from caa_registry.models.model import Model


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the keys of ada, bob and eve, and a file in which ada is trusted and eve was revoked."""
    folder = tmp_path_factory.mktemp("keys")
    public = {name: new_key(folder / f"{name}.pem") for name in ("ada", "bob", "eve")}
    (folder / "keys.toml").write_text(
        f'[[trusted]]\nname = "ada"\nkey = "{public["ada"].word}"\n'
        f'[[trusted]]\nname = "eve"\nkey = "{public["eve"].word}"\n'
        f'[[revoked]]\nkey = "{public["eve"].word}"\nwhy = "it was lost"\n'
    )
    return folder


@pytest.fixture
def copy(tmp_path: Path, whole: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "copy.db"))


@pytest.fixture
def opened_copy(copy: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    monkeypatch.setenv("CAA_KEYS", str(keys / "keys.toml"))
    with caa.open(str(copy), actor="ada") as registry:
        yield registry


def of_ada(signed: Signed) -> list[str]:
    return [each.problem for each in signed.signatures if each.name == "ada"]


@pytest.mark.parametrize("reference", ["team/praise:v1", "dataset:team/dishes:v2", "evaluation:3", "evaluation:2"])
def test_what_is_signed_holds_and_can_be_signed_by_several(opened_copy: Registry, keys: Path, reference: str) -> None:
    before = opened_copy.verify(reference)
    assert not before.holds and before.move is None
    opened_copy.sign(reference, keys / "ada.pem")
    opened_copy.sign(reference, keys / "bob.pem")
    found = opened_copy.verify(reference)
    assert found.holds and of_ada(found) == [""]
    assert [each.problem for each in found.signatures][-1] == "its key is not trusted"
    with pytest.raises(UsageError, match="is signed with this key already"):
        opened_copy.sign(reference, keys / "ada.pem")
    assert opened_copy.fsck().faults == ()
    told = opened_copy.audit.ls()[0]
    assert (told.action, told.actor, told.subject["key"]) == ("sign", "ada", read_public_of(keys, "bob").id)


def read_public_of(keys: Path, name: str) -> PublicKey:
    return read_private(keys / f"{name}.pem").public


def test_whose_signature_is_required(opened_copy: Registry, keys: Path) -> None:
    reference = "team/praise:v2"
    opened_copy.sign(reference, keys / "bob.pem")
    bob = read_public_of(keys, "bob").word
    assert not opened_copy.verify(reference).holds  # of nobody who is trusted
    assert opened_copy.verify(reference, require=[bob]).holds
    (keys / "bob.pub").write_text(bob + "\n")
    assert opened_copy.verify(reference, require=[str(keys / "bob.pub")]).holds
    both = opened_copy.verify(reference, require=[bob, "ada"])
    assert not both.holds and both.missing == ("ada",)
    opened_copy.sign(reference, keys / "ada.pem")
    assert opened_copy.verify(reference, require=[bob, "ada"]).holds
    with pytest.raises(NotFoundError, match="'bob' is neither a key, nor a file, nor the name of a trusted key"):
        opened_copy.verify(reference, require=["bob"])


def test_a_revoked_key_never_counts(opened_copy: Registry, keys: Path) -> None:
    opened_copy.sign("team/praise:v1", keys / "eve.pem")
    found = opened_copy.verify("team/praise:v1", require=["eve"])
    assert not found.holds and found.missing == ("eve",)
    assert "its key was revoked: it was lost" in [each.problem for each in found.signatures]


def test_a_signed_alias_counts_for_one_move_only(opened_copy: Registry, keys: Path) -> None:
    aliases, reference = opened_copy.aliases, "team/praise:production"
    aliases.set("team/praise:v1", "production", Recommendation((1,), 1.5))
    opened_copy.sign(reference, keys / "ada.pem")
    assert (found := opened_copy.verify(reference)).holds and found.move == 1
    # The version itself is not signed with it, nor another alias.
    assert of_ada(opened_copy.verify("team/praise:v1")) == [] == of_ada(opened_copy.verify("team/praise:best"))
    aliases.set("team/praise:v1", "production", Recommendation((1,), 4.0))
    moved = opened_copy.verify(reference)
    assert not moved.holds and moved.move == 2
    assert of_ada(moved) == ["it is of move 1, and the alias has moved since (move 2)"]
    # Back where it was is another move.
    aliases.set("team/praise:v1", "production", Recommendation((1,), 1.5))
    assert not opened_copy.verify(reference).holds
    opened_copy.sign(reference, keys / "ada.pem")
    assert (found := opened_copy.verify(reference)).holds and found.move == 3
    aliases.remove(reference)
    with pytest.raises(NotFoundError):
        opened_copy.verify(reference)


def test_an_alias_that_was_moved_behind_the_log_is_damage(opened_copy: Registry, copy: Path, keys: Path) -> None:
    opened_copy.sign("team/praise:best", keys / "ada.pem")
    opened_copy.close()
    with caa.open(str(copy)) as registry, registry.database.read() as session:
        row = session.scalars(select(t.Alias).where(t.Alias.name == "best", t.Alias.kind == "vector")).one()
        cells = {
            column.name: getattr(row, column.key)
            for column in t.Alias.__mapper__.column_attrs
            for column in column.columns
        }
    digest = digest_of_row("alias", {**cells, "vector_version_id": 2})
    change(copy, f"UPDATE alias SET vector_version_id = 2, row_digest = '{digest}' WHERE id = {row.id}")
    with caa.open(str(copy)) as registry, pytest.raises(IntegrityError, match="not as the last event about it says"):
        registry.verify("team/praise:best")


def envelope_of(path: Path, change_it: Callable[[dict[str, Any]], Any], where: str = "id > 1") -> None:
    """Change an envelope as somebody could who writes the digest of the row too."""
    with caa.open(str(path)) as registry, registry.database.read() as session:
        row = session.scalars(select(t.Signature).order_by(t.Signature.id.desc())).first()
        assert row is not None
        cells = {a.columns[0].name: getattr(row, a.key) for a in t.Signature.__mapper__.column_attrs}
    envelope = json.loads(json.dumps(cells["envelope"]))
    cells["envelope"] = change_it(envelope) or envelope
    digest = digest_of_row("signature", cells)
    text = json.dumps(cells["envelope"]).replace("'", "''")
    change(path, f"UPDATE signature SET envelope = '{text}', row_digest = '{digest}' WHERE id = {cells['id']}")


def _other_payload(envelope: dict[str, Any]) -> None:
    payload = json.loads(base64.b64decode(envelope["payload"]))
    payload["subject"][0]["name"] = "vector:team/other:v1"
    envelope["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another payload": (_other_payload, "the signature does not fit what is signed"),
    "another type": (lambda e: e.update(payloadType="text/plain"), "its envelope holds no in-toto statement"),
    "no signatures": (lambda e: e.update(signatures=[]), "the signature does not fit what is signed"),
    "no payload": (lambda e: e.pop("payload") and None, "its envelope is not one of DSSE"),
    "no base64": (lambda e: e.update(payload="%"), "its envelope is not one of DSSE"),
    "another shape": (lambda e: {"signatures": 5, "x": e}, "its envelope is not one of DSSE"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_envelope_never_counts(case: str, copy: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAA_KEYS", str(keys / "keys.toml"))
    how, problem = BROKEN[case]
    with caa.open(str(copy)) as registry:
        registry.sign("team/praise:v1", keys / "bob.pem")
        registry.sign("team/praise:v1", keys / "ada.pem")
    envelope_of(copy, how)
    with caa.open(str(copy)) as registry:
        # Not even beside another that counts.
        found = registry.verify("team/praise:v1", require=[read_public_of(keys, "bob").word])
        assert of_ada(found) == [problem] and not found.holds


def test_a_signature_of_another_version_never_counts(copy: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAA_KEYS", str(keys / "keys.toml"))
    with caa.open(str(copy)) as registry:
        other = registry.sign("team/praise:v2", keys / "ada.pem").envelope
        registry.sign("team/praise:v1", keys / "ada.pem")
    envelope_of(copy, lambda _: dict(other))
    with caa.open(str(copy)) as registry:
        found = registry.verify("team/praise:v1")
    assert of_ada(found) == ["it is about something else: vector:team/praise:v2"] and not found.holds


def test_a_run_that_was_rewritten_is_named(copy: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAA_KEYS", str(keys / "keys.toml"))
    with caa.open(str(copy)) as registry:
        registry.sign("team/praise:v1", keys / "ada.pem")
        with registry.database.read() as session:
            row = session.scalars(select(t.Run).where(t.Run.kind == "compute").order_by(t.Run.id)).first()
            assert row is not None
            cells = {a.columns[0].name: getattr(row, a.key) for a in t.Run.__mapper__.column_attrs}
    digest = digest_of_row("run", {**cells, "actor": "mallory"})
    change(copy, f"UPDATE run SET actor = 'mallory', row_digest = '{digest}' WHERE id = {cells['id']}")
    with caa.open(str(copy)) as registry:
        found = registry.verify("team/praise:v1")
    assert of_ada(found) == ["it says something else than is stored, at predicate.runDetails.metadata.invocationId"]
    assert not found.holds


@pytest.mark.parametrize(
    ("reference", "damage"),
    [
        ("team/praise:v1", "UPDATE blob SET data = zeroblob(length(data))"),
        ("dataset:team/dishes:v1", "UPDATE pair SET positive = 'x'"),
        ("evaluation:1", "UPDATE score SET value = 0.5 WHERE evaluation_id = 1"),
        ("evaluation:1", "UPDATE blob SET data = zeroblob(length(data))"),
        ("evaluation:3", "UPDATE response SET text = 'Fine.'"),
    ],
)
def test_contents_are_checked_before_they_are_signed_and_verified(
    reference: str, damage: str, copy: Path, keys: Path
) -> None:
    with caa.open(str(copy)) as registry:
        registry.sign(reference, keys / "ada.pem")
    change(copy, damage)
    with caa.open(str(copy)) as registry:
        with pytest.raises(IntegrityError):
            registry.verify(reference, keys=keys / "keys.toml")
        with pytest.raises(IntegrityError):
            registry.sign(reference, keys / "bob.pem")


def test_a_statement_is_what_in_toto_and_slsa_have(opened_copy: Registry) -> None:
    version = opened_copy.vectors.get("team/praise:v1")
    found = opened_copy.statement("team/praise:v1")
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["predicateType"] == "https://slsa.dev/provenance/v1"
    assert found["subject"] == [
        {"name": "vector:team/praise:v1", "digest": {"sha256": version.digest.removeprefix("sha256:")}}
    ]
    definition = found["predicate"]["buildDefinition"]
    assert definition["buildType"] == "urn:caa-registry:compute:v1"
    assert {each["name"] for each in definition["resolvedDependencies"]} == {"dataset:team/dishes:v1", "model:demo"}
    assert version.dataset_digest.removeprefix("sha256:") in json.dumps(definition["resolvedDependencies"])
    kinds = [opened_copy.statement(name)["predicateType"] for name in ("evaluation:3", "dataset:team/dishes:v2")]
    assert kinds == ["https://slsa.dev/provenance/v1"] * 2
    alias = opened_copy.statement("team/praise:best")
    assert alias["predicate"]["move"] == 1 and alias["predicate"]["recommendation"]["multiplier"] == "1.5"


def test_an_evaluation_has_one_digest_wherever_it_is(url: str, model: Model, tmp_path: Path) -> None:
    from registry.registry_support import jsonl, letters

    found = []
    for name in (url, f"sqlite:///{tmp_path / 'second.db'}"):
        with caa.open(name) as registry:
            sources = {
                split: jsonl(tmp_path / f"{split}.jsonl", letters(4, about=split)) for split in ("generate", "test")
            }
            pairs = registry.datasets.import_(sources, name="team/pairs")
            vector = registry.vectors.compute("team/vector", dataset=pairs, model=model)
            if found:  # another number
                registry.evaluations.propensity(vector, split="test", model=model, layers=[0])
            made = registry.evaluations.propensity(vector, split="test", model=model, layers=[1])
            found.append(registry.statement(f"evaluation:{made.id}")["subject"][0])
    assert found[0]["digest"] == found[1]["digest"] and found[0]["name"] != found[1]["name"]


def test_openssl_reads_our_keys_and_verifies_our_signatures(tmp_path: Path, keys: Path) -> None:
    """RFC 8032 and RFC 8410, and the pre-authentication encoding of DSSE, by a program that is not ours."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    envelope = sealed({"_type": "x", "name": "é\u2028"}, read_private(keys / "ada.pem"))
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"].encode()
    (tmp_path / "covered").write_bytes(
        b"DSSEv1 " + str(len(kind)).encode() + b" " + kind + b" " + str(len(payload)).encode() + b" " + payload
    )
    (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    public = tmp_path / "ada.pub.pem"
    run = ["openssl", "pkey", "-in", str(keys / "ada.pem"), "-pubout", "-out", str(public)]
    subprocess.run(run, check=True, capture_output=True)
    check = [
        "openssl",
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        str(public),
        "-rawin",
        "-in",
        str(tmp_path / "covered"),
    ]
    done = subprocess.run([*check, "-sigfile", str(tmp_path / "sig")], capture_output=True, text=True)
    assert done.returncode == 0 and "Verified Successfully" in done.stdout
    assert read_public(public) == read_public_of(keys, "ada")
    # And the other way round: a key of OpenSSL's.
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(tmp_path / "o.pem")], check=True)
    made = read_private(tmp_path / "o.pem")
    assert opened(sealed({"a": "b"}, made), made.public) == {"a": "b"}


def test_the_id_of_a_key_is_the_digest_of_its_der_form(keys: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.hashes import SHA256, Hash
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = read_public_of(keys, "ada")
    digest = Hash(SHA256())
    digest.update(
        Ed25519PublicKey.from_public_bytes(key.raw).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    assert key.id == f"sha256:{digest.finalize().hex()}" and PublicKey.parse(key.word) == key


def test_keys_are_for_their_owner_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    before = os.umask(0)
    try:
        public = new_key(path, "secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and b"ENCRYPTED" in path.read_bytes()
    with pytest.raises(UsageError, match="exists"):
        new_key(path)
    assert read_private(path, "secret").public == public
    for wrong in (None, "other"):
        with pytest.raises(PassphraseError):
            read_private(path, wrong)
    plain = tmp_path / "plain.pem"
    assert new_key(plain) == read_private(plain, "needless").public


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "holds no private key"),
        ("-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n", "holds no private key"),
        ("x" * (65 << 10), "is too large for a key"),
    ],
)
def test_what_is_no_key_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "key.pem"
    path.write_text(text)
    with pytest.raises(InputError, match=problem):
        read_private(path)
    with pytest.raises(NotFoundError):
        read_private(tmp_path / "none.pem")


def test_a_key_of_another_kind_is_refused(tmp_path: Path, keys: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = generate_private_key(SECP256R1())
    private, public = tmp_path / "ec.pem", tmp_path / "ec.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(InputError, match="holds no Ed25519 key"):
        read_private(private)
    with pytest.raises(InputError, match="holds no Ed25519 key"):
        read_public(public)
    with pytest.raises(InputError, match="holds a private key"):
        read_public(keys / "ada.pem")


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "[trusted]\nname = 'a'\nkey = 'b'\n",
        "trusted = 5\n",
        "[[trusted]]\nname = 'a'\n",
        "[[trusted]]\nname = 'a'\nkey = 'ed25519:AAAA'\n",
        "[[trusted]]\nname = 5\nkey = 'b'\n",
        "[[revoked]]\nkey = 'ed25519:AAAA'\nwhy = ''\n",
        "[[trustde]]\nname = 'a'\nkey = 'b'\n",
        "[[trusted]]\nname = 'a'\nkey = 'b'\nsince = 2026-01-01\n",
    ],
)
def test_a_file_of_keys_that_cannot_be_read_trusts_nobody(opened_copy: Registry, tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"keys\.toml"):
        opened_copy.verify("team/praise:v1", keys=path)
    with pytest.raises(NotFoundError, match="there is no file"):
        opened_copy.verify("team/praise:v1", keys=tmp_path / "none.toml")
