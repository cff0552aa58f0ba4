"""The keys of the tests: the registry signs with one, the deployer trusts it."""

import tempfile
from functools import cache
from pathlib import Path

from contracts.events.model import ModelVersion
from deploy.signing import SigningKeys, signing_keys
from services.chassis.signing import Signer, TrustedKeys


@cache
def keys() -> SigningKeys:
    """Made for this run. Processes are given the paths."""
    return signing_keys(Path(tempfile.mkdtemp(prefix="loopline-signing-")))


def key_settings() -> dict[str, str]:
    """The environment of both services."""
    return keys().of_registry | keys().of_deployer


def signed(version: ModelVersion) -> ModelVersion:
    """As the registry signs it."""
    return Signer(str(keys().private)).sign(version)


def trusted() -> TrustedKeys:
    """What the deployer trusts."""
    return TrustedKeys(str(keys().trusted))
