"""Signatures over versions: what fits, what does not, and keys that cannot be used."""

import base64
import json
import subprocess
from pathlib import Path

import pytest

from contracts.attestation import PAYLOAD_TYPE, statement_of
from contracts.events.model import ModelVersion
from deploy.signing import signing_keys
from services.chassis.errors import Rejected
from services.chassis.signing import BadKey, NotTrusted, Signer, TrustedKeys
from tests.services.registry.world import blob, model_version
from tests.signing import keys, signed, trusted

VERSION = model_version(3)


def changed(version: ModelVersion, /, **fields: object) -> ModelVersion:
    return version.model_copy(update=fields)


def test_what_was_signed_is_trusted_also_after_a_journey_over_the_bus() -> None:
    version = signed(VERSION)
    trusted().check(version)
    trusted().check(ModelVersion.model_validate_json(version.model_dump_json()))
    assert signed(VERSION) == version


def test_the_statement_names_the_files_and_where_they_come_from() -> None:
    statement = json.loads(statement_of(VERSION))
    assert statement["subject"] == [
        {"name": "model.pt", "digest": {"sha256": "a" * 64}},
        {"name": "golden.npz", "digest": {"sha256": "b" * 64}},
    ]
    assert statement["predicate"]["run_id"] == "run-1"
    assert "signature" not in statement["predicate"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param({"version": 4}, "differs from what was signed in version", id="number"),
        pytest.param({"name": "other"}, "in name", id="project"),
        pytest.param({"dataset_number": 9}, "in dataset_number", id="dataset"),
        pytest.param(
            {"model": VERSION.model.model_copy(update={"file": blob("d")})}, "its files are not those", id="model"
        ),
        pytest.param(
            {"model": VERSION.model.model_copy(update={"classes": ("defective", "functional")})},
            "in model",
            id="classes",
        ),
    ],
)
def test_what_was_changed_after_it_was_signed_is_not_trusted(change: dict[str, object], told: str) -> None:
    with pytest.raises(NotTrusted, match=f"is not what was signed, .*{told}"):
        trusted().check(changed(signed(VERSION), **change))


def test_a_signature_over_something_else_is_not_trusted() -> None:
    version = signed(VERSION)
    assert version.signature
    other = version.signature.model_copy(update={"payload": base64.b64encode(b"{}").decode()})
    with pytest.raises(NotTrusted, match="the signature does not fit"):
        trusted().check(changed(version, signature=other))
    garbage = version.signature.model_copy(update={"signature": "not base64"})
    with pytest.raises(NotTrusted, match="the signature does not fit"):
        trusted().check(changed(version, signature=garbage))


def test_unsigned_is_rejected_and_the_remedy_named() -> None:
    with pytest.raises(Rejected, match="version 3 of solar is not signed: approve one that the registry"):
        trusted().check(VERSION)


def test_keys_are_rotated_without_a_break(tmp_path: Path) -> None:
    old = signing_keys(tmp_path)
    before = Signer(str(old.private)).sign(VERSION)
    deployer_of_yesterday = TrustedKeys(str(old.trusted))
    old.private.rename(tmp_path / "old.key")
    new = signing_keys(tmp_path)
    after = Signer(str(new.private)).sign(VERSION)
    assert before != after
    for version in (before, after):
        TrustedKeys(str(new.trusted)).check(version)
    with pytest.raises(NotTrusted, match=r"is signed by the key [0-9a-f]{16}, which is not trusted"):
        deployer_of_yesterday.check(after)


def test_the_private_key_is_for_its_owner_only_and_is_made_once(tmp_path: Path) -> None:
    keys = signing_keys(tmp_path / "signing")
    assert keys.private.stat().st_mode & 0o777 == 0o600
    before = keys.private.read_bytes()
    assert signing_keys(tmp_path / "signing").private.read_bytes() == before


def test_openssl_agrees_with_the_signature(tmp_path: Path) -> None:
    version = signed(VERSION)
    assert version.signature
    payload = base64.b64decode(version.signature.payload)
    kind = PAYLOAD_TYPE.encode()
    (tmp_path / "pae").write_bytes(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload))
    (tmp_path / "sig").write_bytes(base64.b64decode(version.signature.signature))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(keys().trusted), "-rawin"]
    files = ["-in", str(tmp_path / "pae"), "-sigfile", str(tmp_path / "sig")]
    answer = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    assert "Signature Verified Successfully" in answer.stdout, answer.stderr


@pytest.mark.parametrize("make", [Signer, TrustedKeys])
def test_keys_that_cannot_be_used_say_so(make: type[Signer | TrustedKeys], tmp_path: Path) -> None:
    with pytest.raises(BadKey, match=r"LOOPLINE_.*_FILE is not set"):
        make("")
    with pytest.raises(BadKey, match="cannot be read"):
        make(str(tmp_path / "none.pem"))
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(BadKey, match=r"holds no (public|private) key.*: python -m deploy\.signing FOLDER"):
        make(str(tmp_path / "empty.pem"))
    (tmp_path / "rubbish.pem").write_text("-----BEGIN PUBLIC KEY-----\nrubbish\n-----END PUBLIC KEY-----\n")
    with pytest.raises(BadKey):
        make(str(tmp_path / "rubbish.pem"))
