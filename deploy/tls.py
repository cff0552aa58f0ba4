"""Certificates for a test or one machine: `python -m deploy.tls FOLDER [--host NAME …]`.

Makes an authority of its own, a certificate for the server and one for clients, and says which settings use them. The
authority's key is not kept: nobody can make another certificate that its CA vouches for.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.embedded.servers import write_private

HOSTS = ("127.0.0.1", "localhost")
VALID_DAYS = 365


@dataclass(frozen=True)
class Certificates:
    """Files in PEM; the keys are for their owner only."""

    ca: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path


def make(folder: Path, hosts: Sequence[str] = HOSTS, now: datetime | None = None) -> Certificates:
    """Certificates valid for a year from `now`, the server's for `hosts`, names or addresses.

    Raises:
        FileExistsError: the folder holds certificates already, which a running server may use.
    """
    made = Certificates(*(folder / name for name in ("ca.pem", "server.pem", "server.key", "client.pem", "client.key")))
    if made.ca.exists():
        raise FileExistsError(f"{made.ca} exists: delete {folder} first, or choose another folder")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    now = now or datetime.now(UTC)
    authority = _Authority(generate_private_key(SECP256R1()), _name("Loopline, made by deploy.tls"), now)
    server, client = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
    made.server_cert.write_bytes(authority.certificate(server, hosts, ExtendedKeyUsageOID.SERVER_AUTH))
    made.client_cert.write_bytes(authority.certificate(client, ["client"], ExtendedKeyUsageOID.CLIENT_AUTH))
    write_private(made.server_key, _pem(server))
    write_private(made.client_key, _pem(client))
    made.ca.write_bytes(authority.own())
    return made


@dataclass(frozen=True)
class _Authority:
    key: EllipticCurvePrivateKey
    name: x509.Name
    now: datetime

    def own(self) -> bytes:
        """Its own certificate, which the clients are given."""
        usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        return self._signed(
            self._builder(self.name, self.key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
        )

    def certificate(self, key: EllipticCurvePrivateKey, hosts: Sequence[str], use: x509.ObjectIdentifier) -> bytes:
        """One for a key, under the first of the hosts and good for all of them."""
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return self._signed(
            self._builder(_name(hosts[0]), key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
            .add_extension(signer, critical=False)
        )

    def _builder(self, name: x509.Name, key: EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            # Clocks differ by a little.
            .not_valid_before(self.now - timedelta(hours=1))
            .not_valid_after(self.now + timedelta(days=VALID_DAYS))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )

    def _signed(self, builder: x509.CertificateBuilder) -> bytes:
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(key: EllipticCurvePrivateKey) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode("ascii")


def main(argv: list[str] | None = None) -> int:
    """Make them and print the settings; 2 when the folder holds some already."""
    parser = argparse.ArgumentParser(prog="python -m deploy.tls", description="Certificates for a test or one machine.")
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--host", action="append", default=[], help="name or address of the server, beside this machine"
    )
    asked = parser.parse_args(argv)
    try:
        made = make(asked.folder.resolve(), (*HOSTS, *asked.host))
    except FileExistsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("# In .env, then ./taskw up:")
    print(f"LOOPLINE_NATS_SERVER_CERT={made.server_cert}")
    print(f"LOOPLINE_NATS_SERVER_KEY={made.server_key}")
    print(f"LOOPLINE_NATS_TLS_CA={made.ca}")
    print("# To let in only clients with a certificate:")
    print(f"# LOOPLINE_NATS_SERVER_CLIENT_CA={made.ca}")
    print(f"# LOOPLINE_NATS_TLS_CERT={made.client_cert}")
    print(f"# LOOPLINE_NATS_TLS_KEY={made.client_key}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
