"""Ed25519 keys: in PEM files, as OpenSSL and others write them, or a public key as one word, ``ed25519:BASE64``."""

from __future__ import annotations

import base64
import binascii
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from caa_registry.digests import digest_bytes
from caa_registry.disk import new
from caa_registry.errors import InputError, NotFoundError, PassphraseError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_WORD = re.compile(r"ed25519:([A-Za-z0-9+/]{43}=)")
# More than any PEM file of one key.
_LARGEST = 64 << 10


@dataclass(frozen=True)
class PublicKey:
    """A public Ed25519 key: its 32 bytes."""

    raw: bytes

    @property
    def word(self) -> str:
        """The key as one word."""
        return f"ed25519:{base64.b64encode(self.raw).decode()}"

    @property
    def id(self) -> str:
        """What names the key: the digest of its DER form (SubjectPublicKeyInfo, RFC 8410)."""
        return digest_bytes(bytes.fromhex("302a300506032b6570032100") + self.raw)

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether ``signature`` was made of ``data`` with the private key."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, data)
        except InvalidSignature:
            return False
        return True

    @classmethod
    def parse(cls, word: str) -> PublicKey | None:
        """The key of such a word; ``None`` for any other text."""
        match = _WORD.fullmatch(word.strip())
        if match is None:
            return None
        try:
            return cls(base64.b64decode(match[1], validate=True))
        except binascii.Error:
            return None


@dataclass(frozen=True)
class PrivateKey:
    """A private Ed25519 key."""

    _key: Ed25519PrivateKey

    @property
    def public(self) -> PublicKey:
        """The key that verifies what this one signs."""
        return PublicKey(self._key.public_key().public_bytes_raw())

    def sign(self, data: bytes) -> bytes:
        """The signature of ``data``: 64 bytes."""
        return self._key.sign(data)


def new_key(path: Path, passphrase: str | None = None) -> PublicKey:
    """Make a key, and write it to ``path`` as PEM (PKCS #8), for its owner only; encrypted with ``passphrase``. Its
    public part. Raises ``UsageError`` where there is a file, ``WriteError``."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if os.path.lexists(path):
        raise UsageError(f"{path} exists", "A key is never replaced. Choose another name.")
    key = Ed25519PrivateKey.generate()
    protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        protection = serialization.BestAvailableEncryption(passphrase.encode())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
    with new(path) as part, os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    return PrivateKey(key).public


def read_private(path: Path, passphrase: str | None = None) -> PrivateKey:
    """The private key in a PEM file. Raises ``PassphraseError``, ``InputError`` for a file that holds none,
    ``NotFoundError``."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _read(path)
    try:
        key = load_pem_private_key(data, passphrase.encode() if passphrase else None)
    except TypeError as error:
        if passphrase:
            # It is not encrypted, which makes the passphrase needless.
            return read_private(path)
        raise PassphraseError(f"{path} is encrypted", "Its passphrase is needed.") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        if passphrase and b"ENCRYPTED" in data:
            raise PassphraseError(f"the passphrase of {path} is another", "Try again.") from error
        raise InputError("holds no private key in PEM form", "Make one: caa key new FILE", source=str(path)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError("holds no Ed25519 key", "Make one: caa key new FILE", source=str(path))
    return PrivateKey(key)


def read_public(path: Path) -> PublicKey:
    """The public key in a file: PEM, or the one word. Raises ``InputError``, ``NotFoundError``."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = _read(path)
    if (word := PublicKey.parse(data.decode("utf-8", "replace"))) is not None:
        return word
    if b"PRIVATE KEY" in data:
        raise InputError(
            "holds a private key", "Give the public one: the word that caa key new printed.", source=str(path)
        )
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError("holds no public key in PEM form", source=str(path)) from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError("holds no Ed25519 key", source=str(path))
    return PublicKey(key.public_bytes_raw())


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no key {path}", "Make one: caa key new FILE") from error
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read ({error})", source=str(path)) from error
    if len(data) > _LARGEST:
        raise InputError("is too large for a key", source=str(path))
    return data
