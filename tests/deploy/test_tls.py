"""NATS over TLS, with certificates of our own making: the real server, the client of the chassis and a service."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.embedded import servers
from deploy.embedded.given import BadSetting
from deploy.embedded.servers import HOST, Tls, free_port
from deploy.embedded.stack import embedded_stack
from deploy.tls import Certificates, main, make
from services.chassis.app import Service
from services.chassis.connection import connect
from services.chassis.errors import Unreachable
from services.chassis.settings import Settings
from tests.servers import running

pytestmark = pytest.mark.integration

AUTHORIZATION = {"user": "loopline", "password": "only-for-tests"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for 127.0.0.1."""
    return make(tmp_path_factory.mktemp("tls") / "made")


@contextmanager
def nats_server(folder: Path, tls: Tls | None) -> Iterator[str]:
    """The address of a server with a user."""
    port = free_port()
    with running(servers.nats(folder / "nats", port, AUTHORIZATION, tls), folder / "nats.log"):
        yield f"nats://{HOST}:{port}"


def settings(url: str, **given: object) -> Settings:
    return Settings(nats_url=url, nats_user="loopline", nats_password="only-for-tests", **given)


async def test_clients_and_services_connect_over_tls_and_no_one_in_plain(tmp_path: Path, made: Certificates) -> None:
    with nats_server(tmp_path, Tls(str(made.server_cert), str(made.server_key))) as url:
        # Over TLS from the first byte as ours do it, and after the greeting as others do.
        for first in (True, False):
            connection = await connect(settings(url, nats_tls_ca=str(made.ca), nats_tls_first=first), "test")
            assert connection.is_connected
            await connection.close()
        service = Service("trainer", settings(url, nats_tls_ca=str(made.ca)))
        assert (await service.broker.connect()).is_connected
        await service.broker.stop()
        # What stands in no CA file is refused by whoever connects, and what is no TLS by the server.
        with pytest.raises(Unreachable, match="LOOPLINE_NATS_TLS_CA does not vouch for"):
            await connect(settings(url), "test")
        reader, writer = await asyncio.open_connection(HOST, int(url.rpartition(":")[2]))
        assert b'"tls_required":true' in await reader.readline()
        writer.write(b'CONNECT {"user":"loopline","pass":"only-for-tests"}\r\nPING\r\n')
        assert b"PONG" not in await reader.read()
        writer.close()


async def test_a_server_with_anothers_certificate_is_not_given_the_password(tmp_path: Path, made: Certificates) -> None:
    other = make(tmp_path / "other")
    with nats_server(tmp_path, Tls(str(other.server_cert), str(other.server_key))) as url:
        given = settings(url, nats_tls_ca=str(made.ca))
        with pytest.raises(Unreachable, match="LOOPLINE_NATS_TLS_CA does not vouch for"):
            await connect(given, "test")
        with pytest.raises(Unreachable, match="LOOPLINE_NATS_TLS_CA does not vouch for"):
            await Service("trainer", given).app().start()


async def test_a_server_without_tls_is_not_given_the_password(tmp_path: Path, made: Certificates) -> None:
    with (
        nats_server(tmp_path, None) as url,
        pytest.raises(Unreachable, match="does not speak TLS from the first byte"),
    ):
        await connect(settings(url, nats_tls_ca=str(made.ca)), "test")


async def test_a_server_may_want_a_certificate_of_the_client(tmp_path: Path, made: Certificates) -> None:
    with nats_server(tmp_path, Tls(str(made.server_cert), str(made.server_key), str(made.ca))) as url:
        ca = str(made.ca)
        with pytest.raises(Unreachable, match="LOOPLINE_NATS_TLS_CERT"):
            await connect(settings(url, nats_tls_ca=ca), "test")
        own = {"nats_tls_cert": str(made.client_cert), "nats_tls_key": str(made.client_key)}
        connection = await connect(settings(url, nats_tls_ca=ca, **own), "test")
        assert connection.is_connected
        await connection.close()


async def test_a_ca_file_that_is_not_there_is_told_in_a_sentence() -> None:
    with pytest.raises(Unreachable, match=r"LOOPLINE_NATS_TLS_CA.*nowhere\.pem"):
        await connect(settings("nats://127.0.0.1:1", nats_tls_ca="/nowhere.pem"), "test")


def test_keys_are_for_their_owner_and_are_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "tls"
    assert main([str(folder), "--host", "nats.plant.example", "--host", "10.0.0.7"]) == 0
    lines = capsys.readouterr().out.splitlines()
    given = dict(line.split("=") for line in lines if line.startswith("LOOPLINE_"))
    for key in folder.glob("*.key"):
        assert key.stat().st_mode & 0o777 == 0o600
    assert main([str(folder)]) == 2
    assert "choose another folder" in capsys.readouterr().err
    stack = embedded_stack(given, tmp_path / "var")
    assert all(process.env["LOOPLINE_NATS_TLS_CA"] == str(folder / "ca.pem") for process in stack.services)
    with pytest.raises(BadSetting, match="python -m deploy"):
        embedded_stack({"LOOPLINE_NATS_SERVER_CERT": given["LOOPLINE_NATS_SERVER_CERT"]}, tmp_path / "var")
