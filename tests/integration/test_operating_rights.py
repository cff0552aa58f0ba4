"""Scheduling, presence and the doctor with the rights of the users that the stack makes, and no others."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from pydantic import SecretStr

from contracts.events.training import TrainingRequested
from contracts.permissions import USERS
from contracts.topology import SERVICES
from deploy.embedded import servers
from deploy.embedded.nats_users import authorization
from services.chassis.app import Service
from services.chassis.client import Client
from services.chassis.connection import connect
from services.chassis.diagnosis import bus
from services.chassis.errors import NotAllowed
from services.chassis.provisioning import provision
from services.chassis.settings import Settings
from tests.eventually import eventually
from tests.servers import running
from tests.services.chassis.conftest import Run, run

pytestmark = pytest.mark.integration

__all__ = ["run"]


async def test_the_operator_schedules_and_examines_and_a_camera_does_neither(tmp_path: Path, run: Run) -> None:
    port = servers.free_port()
    made = {user.name: f"password-of-{user.name}" for user in USERS}
    await asyncio.to_thread((tmp_path / "blobs").mkdir)

    def user(name: str) -> Settings:
        return Settings(
            nats_url=f"nats://{servers.HOST}:{port}",
            nats_user=name,
            nats_password=SecretStr(made[name]),
            blobs_root=str(tmp_path / "blobs"),
        )

    async with AsyncExitStack() as stack:
        stack.enter_context(running(servers.nats(tmp_path / "nats", port, authorization(made)), tmp_path / "log"))
        connection = await connect(user("provisioner"), "provisioning")
        await provision(connection)
        # A second time everything is there, and is compared and updated.
        await provision(connection)
        await connection.close()
        for name in SERVICES:
            await stack.enter_async_context(run(Service(name, user(name))))
        client = await stack.enter_async_context(Client.connect(user("cli"), "test"))

        async def all_is_well() -> None:
            assert [finding async for finding in bus(user("cli")) if finding.fault] == []

        await eventually(all_is_well, 30, every_s=0.5)
        await client.schedules.add("solar", "nightly", TrainingRequested(again=True), "@every 1s")

        async def it_has_fired() -> None:
            assert await client.last(TrainingRequested, "solar")

        await eventually(it_has_fired, 30)
        assert await client.schedules.remove("solar", "nightly")
        assert await client.schedules.all() == []

        assert [one.what async for one in bus(user("camera")) if one.fault] == ["rights on the bus"]
        camera = await connect(user("camera"), "camera")
        other = Client(camera, user("camera"), "camera")
        with pytest.raises(NotAllowed):
            await other.schedules.add("solar", "nightly", TrainingRequested(again=True), "@every 1s")
        await camera.close()
