"""Ed25519 over what is said about a version: the registry signs, the deployer checks before anything is pushed.

Keys are PEM files, as `openssl genpkey -algorithm ed25519` or `python -m deploy.signing` make them.
"""

import base64
import hashlib
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from contracts.attestation import NotTheStatement, check_statement, statement_of, to_sign
from contracts.events.model import ModelVersion, Signature
from services.chassis.errors import Rejected

_BEGIN = "-----BEGIN"
_MAKE = "python -m deploy.signing FOLDER makes a pair"


class BadKey(ValueError):
    """A file of keys that cannot be used; the text says which and what to do."""


class NotTrusted(Rejected):
    """No key that is trusted has signed this version as it is; the text says why and what to do."""


class Signer:
    """Signs versions with the private key in a PEM file."""

    def __init__(self, file: str) -> None:
        """Reads the key.

        Raises:
            BadKey: there is no such file, or no Ed25519 private key in it.
        """
        if not file:
            raise BadKey(f"LOOPLINE_SIGNING_KEY_FILE is not set, and unsigned models do not serve: {_MAKE}")
        text = _read(file)
        try:
            key = load_pem_private_key(text.encode(), password=None)
        except (ValueError, TypeError) as error:
            raise BadKey(f"{file} holds no private key in PEM without a passphrase: {_MAKE}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise BadKey(f"the key in {file} is no Ed25519 key: {_MAKE}")
        self._key = key
        self._id = key_id(key.public_key())

    def sign(self, version: ModelVersion) -> ModelVersion:
        """The version with its signature. The same version gives the same one."""
        payload = statement_of(version)
        signature = Signature(
            key_id=self._id,
            payload=base64.b64encode(payload).decode(),
            signature=base64.b64encode(self._key.sign(to_sign(payload))).decode(),
        )
        return version.model_copy(update={"signature": signature})


class TrustedKeys:
    """Checks versions against the public keys in a PEM file: several, while one takes over from another."""

    def __init__(self, file: str) -> None:
        """Reads the keys.

        Raises:
            BadKey: there is no such file, no key in it, or one that is no Ed25519 public key.
        """
        if not file:
            raise BadKey(f"LOOPLINE_TRUSTED_KEYS_FILE is not set, and unsigned models do not serve: {_MAKE}")
        blocks = [_BEGIN + block for block in _read(file).split(_BEGIN)[1:]]
        if not blocks:
            raise BadKey(f"{file} holds no public key in PEM: {_MAKE}")
        self._file = file
        self._keys = dict(map(self._of, blocks))

    def _of(self, block: str) -> tuple[str, Ed25519PublicKey]:
        try:
            key = load_pem_public_key(block.encode())
        except (ValueError, TypeError) as error:
            raise BadKey(f"{self._file} holds something else than public keys in PEM: {_MAKE}") from error
        if not isinstance(key, Ed25519PublicKey):
            raise BadKey(f"a key in {self._file} is no Ed25519 key: {_MAKE}")
        return key_id(key), key

    def check(self, version: ModelVersion) -> None:
        """Return where a trusted key has signed exactly this.

        Raises:
            NotTrusted: it is unsigned, signed by another key, or not what was signed.
        """
        name = f"version {version.version} of {version.name}"
        signed = version.signature
        if signed is None:
            raise NotTrusted(f"{name} is not signed: approve one that the registry has registered, or train it again")
        key = self._keys.get(signed.key_id)
        if key is None:
            raise NotTrusted(
                f"{name} is signed by the key {signed.key_id}, which is not trusted: if it should be, add it to "
                f"{self._file} and approve the version once more"
            )
        wrong = "approve it as model.registered has it (loopline models approve), or train it again"
        try:
            payload = base64.b64decode(signed.payload, validate=True)
            key.verify(base64.b64decode(signed.signature, validate=True), to_sign(payload))
            check_statement(payload, version)
        except (InvalidSignature, ValueError) as error:
            why = str(error) if isinstance(error, NotTheStatement) else "the signature does not fit"
            raise NotTrusted(f"{name} is not what was signed, {why}: {wrong}") from error


def key_id(key: Ed25519PublicKey) -> str:
    """The first 16 hex digits of the SHA-256 of a public key's 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def _read(file: str) -> str:
    try:
        return Path(file).read_text("ascii")
    except (OSError, ValueError) as error:
        raise BadKey(f"the key file {file} cannot be read ({error}): {_MAKE}") from error
