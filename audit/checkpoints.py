"""
Signed heads of the chain, and the file elsewhere that they are appended to. Needs no Django.

A line of the file is a JSON object. A bucket or a write-once store is a mounted file.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from audit.canonical import checkpoint_bytes

TAIL_BYTES = 65_536
PEM_END = b"-----END PRIVATE KEY-----\n"


class BadKeyFile(Exception):
    """The file of the signing key is not there, or holds no Ed25519 key."""


class BadLine(Exception):
    """A line is no checkpoint."""


@dataclass(frozen=True)
class SignedHead:
    """The hash of seal ``number`` when it was the last, with signatures by public key, in hex."""

    number: int
    at: datetime
    hash: bytes
    signatures: dict[str, str]

    def signers(self) -> frozenset[str]:
        """Return the keys that signed it, or nobody when one of the signatures is false."""
        signed = checkpoint_bytes(number=self.number, at=self.at, hash=self.hash)
        try:
            for key, signature in self.signatures.items():
                public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
                public.verify(bytes.fromhex(signature), signed)
        except (InvalidSignature, ValueError, TypeError):
            return frozenset()
        return frozenset(self.signatures)

    def line(self) -> bytes:
        """Return it as a line of the file."""
        members = {
            "version": 1,
            "number": self.number,
            "at": self.at.isoformat(),
            "hash": self.hash.hex(),
            "signatures": self.signatures,
        }
        return json.dumps(members).encode() + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> "SignedHead":
        """
        Read a line of the file.

        :raises BadLine: it is none.
        """
        try:
            members = json.loads(line)
            head = cls(
                number=members["number"],
                at=datetime.fromisoformat(members["at"]),
                hash=bytes.fromhex(members["hash"]),
                signatures=members["signatures"],
            )
            if head.line() == line + b"\n":
                return head
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadLine(str(error)) from error
        raise BadLine("it would be written otherwise")


class Signer:
    """
    Signs heads with every key of a file of PEM blocks.

    More than one is for a change of keys: what both sign makes the new one trusted.
    """

    def __init__(self, path: Path) -> None:
        """:raises BadKeyFile: it cannot be read, or is not a file of Ed25519 keys."""
        try:
            blocks = [block for block in path.read_bytes().split(PEM_END) if block.strip()]
            keys: list[Any] = [load_pem_private_key(each + PEM_END, None) for each in blocks]
        except (OSError, ValueError, TypeError) as error:
            raise BadKeyFile(f"{path}: {error}") from error
        if not keys or not all(isinstance(key, Ed25519PrivateKey) for key in keys):
            raise BadKeyFile(f"{path}: not a file of Ed25519 keys")
        self.keys: dict[str, Ed25519PrivateKey] = {
            key.public_key().public_bytes_raw().hex(): key for key in keys
        }

    def sign(self, *, number: int, at: datetime, hash: bytes) -> SignedHead:
        signed = checkpoint_bytes(number=number, at=at, hash=hash)
        signatures = {public: key.sign(signed).hex() for public, key in self.keys.items()}
        return SignedHead(number=number, at=at, hash=hash, signatures=signatures)


def make_key(path: Path) -> None:
    """Write a new signing key, for its owner alone, unless the file is there already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pem = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # Unlike a rename, it never replaces a key that another made first.
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def append(path: Path, heads: list[SignedHead]) -> None:
    """Append heads to the file and wait until they are on its disk."""
    lines = b"".join(head.line() for head in heads)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            lines = b"\n" + lines  # The last one was cut in the middle by a crash.
        while lines:
            lines = lines[os.write(file, lines) :]
        os.fsync(file)
    finally:
        os.close(file)


def last_of(path: Path) -> SignedHead | None:
    """Return the last whole line of the file; ``None`` where there is none yet."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        for line in reversed(file.read().split(b"\n")):
            try:
                return SignedHead.of_line(line)
            except BadLine:
                continue
    return None


def read(path: Path) -> Iterator[SignedHead | bytes]:
    """
    Yield the heads of the file; a line that is none as it is.

    A line cut in the middle by a crash is left out where the next one says the same in full.
    """
    with path.open("rb") as file:
        bad = b""
        for line in file:
            text = line.rstrip(b"\n")
            try:
                head = SignedHead.of_line(text)
            except BadLine:
                if bad:
                    yield bad
                bad = text
                continue
            if bad and not text.startswith(bad):
                yield bad
            bad = b""
            yield head
    if bad and line.endswith(b"\n"):
        yield bad
