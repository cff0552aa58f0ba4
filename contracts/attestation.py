"""What is signed about a version: an in-toto statement in a DSSE envelope. Nothing here knows a key.

The subject are the files that will run and that check them; the predicate is the version, but for its signature. The
statement travels inside the envelope, so that whoever checks it never has to write the same bytes again.

in-toto: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
DSSE: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
"""

import json
from typing import Any

from pydantic import ValidationError

from contracts.events.model import ModelVersion

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://loopline.dev/model-version/v1"


class NotTheStatement(ValueError):
    """The statement is not about this version; the text says how they differ."""


def statement_of(version: ModelVersion) -> bytes:
    """The statement about a version as JSON in UTF-8, its keys in order: the same version gives the same bytes."""
    model = version.model
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": "model.pt", "digest": {"sha256": model.file.sha256}},
            {"name": "golden.npz", "digest": {"sha256": model.golden.sha256}},
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": version.model_dump(mode="json", exclude={"signature"}),
    }
    return json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def to_sign(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: type and bytes are signed, so that they are never taken for others."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def check_statement(payload: bytes, version: ModelVersion) -> None:
    """Whether signed bytes are the statement about this very version.

    A field that was added after it was signed has its default in both.

    Raises:
        NotTheStatement: they are no such statement, or about something else.
    """
    try:
        statement = json.loads(payload)
        kinds = statement["_type"], statement["predicateType"]
        digests = {one["name"]: one["digest"]["sha256"] for one in statement["subject"]}
        signed = ModelVersion.model_validate(statement["predicate"])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise NotTheStatement(f"what is signed is no statement about a version ({type(error).__name__})") from error
    if kinds != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise NotTheStatement("what is signed is a statement of another kind")
    if digests != {"model.pt": version.model.file.sha256, "golden.npz": version.model.golden.sha256}:
        raise NotTheStatement("its files are not those that were signed")
    if differing := _differing(signed, version):
        raise NotTheStatement(f"it differs from what was signed in {', '.join(differing)}")


def _differing(signed: ModelVersion, version: ModelVersion) -> list[str]:
    one, other = (_fields(each) for each in (signed, version))
    return [name for name in one if one[name] != other[name]]


def _fields(version: ModelVersion) -> dict[str, Any]:
    return version.model_dump(mode="json", exclude={"signature"})
