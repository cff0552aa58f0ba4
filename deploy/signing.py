"""The keys that sign models: `python -m deploy.signing FOLDER`.

Makes a private key for the registry and the file of public keys for the deployer, and says which settings use them.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deploy.embedded.servers import write_private


@dataclass(frozen=True)
class SigningKeys:
    """Files in PEM: the private key, for its owner only, and the public keys that are trusted."""

    private: Path
    trusted: Path

    @property
    def of_registry(self) -> dict[str, str]:
        """The setting of the registry, which no one else is given."""
        return {"LOOPLINE_SIGNING_KEY_FILE": str(self.private)}

    @property
    def of_deployer(self) -> dict[str, str]:
        """The setting of the deployer."""
        return {"LOOPLINE_TRUSTED_KEYS_FILE": str(self.trusted)}


def signing_keys(folder: Path) -> SigningKeys:
    """Those of the folder; made now where there are none. A file of trusted keys that is there keeps what it has."""
    keys = SigningKeys(folder / "signing.key", folder / "trusted.pem")
    if not keys.private.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = Ed25519PrivateKey.generate()
        # The public half first: a private key whose public half nobody trusts would sign in vain.
        with keys.trusted.open("ab") as trusted:
            trusted.write(
                made.public_key().public_bytes(
                    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
                )
            )
        write_private(
            keys.private,
            made.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ).decode(),
        )
    return keys


def main() -> int:
    """Make them and say how they are used; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="to rotate, move signing.key away and run it again")
    keys = signing_keys(parser.parse_args().folder.resolve())
    for who, settings in (("registry", keys.of_registry), ("deployer", keys.of_deployer)):
        for name, value in settings.items():
            print(f"{name}={value}   # of the {who}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
