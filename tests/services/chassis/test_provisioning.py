from pathlib import Path

import nats
import pytest
from pydantic import ValidationError

from contracts.topology import BUCKETS, CONSUMERS, DAY_S, DEAD, LOOP, PREDICTIONS, REQUESTS, STREAMS, Bucket
from deploy.embedded import servers
from services.chassis import provisioning
from services.chassis.client import Client
from services.chassis.errors import Rejected, explain
from services.chassis.provisioning import provision
from services.chassis.settings import Settings, StreamLimits
from tests.chaos.buses import Servers
from tests.filling import small_nats
from tests.servers import running


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ('{"PREDICTION": {}}', "PREDICTION is no stream: name one of SCHEDULES, LOOP"),
        ('{"LOOP": {"max_byte": 5000000}}', "streams.LOOP.max_byte: there is no such field"),
        ('{"LOOP": {"max_bytes": 5}}', "greater than or equal to 1048576"),
        ("{LOOP", "write it like"),
    ],
)
def test_limits_that_cannot_be_meant_are_refused_with_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, given: str, says: str
) -> None:
    monkeypatch.setenv("LOOPLINE_STREAMS", given)
    with pytest.raises(ValidationError) as refused:
        Settings(_env_file=None)
    assert says in explain(refused.value)


@pytest.mark.integration
async def test_sizes_and_ages_of_the_settings_change_streams_that_exist(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Shorter than the time for which LOOP knows a message again.
    monkeypatch.setenv("LOOPLINE_STREAMS", '{"PREDICTIONS": {"max_bytes": "3GiB"}, "LOOP": {"max_age_s": 3600}}')
    await provision(client.bus.connection, limits=Settings(_env_file=None).streams)
    changed = (await client.bus.jetstream.stream_info(PREDICTIONS)).config
    assert (changed.max_bytes, changed.max_age) == (3 * 2**30, 30 * DAY_S)
    changed = (await client.bus.jetstream.stream_info(LOOP)).config
    assert (changed.max_age, changed.duplicate_window) == (3600, 3600)
    assert (await client.bus.jetstream.stream_info(REQUESTS)).config.max_bytes == 2 * 2**30
    # Without the setting it is as the topology says.
    await provision(client.bus.connection)
    assert (await client.bus.jetstream.stream_info(PREDICTIONS)).config.max_bytes == 8 * 2**30


@pytest.mark.integration
async def test_a_bucket_that_exists_is_brought_up_to_the_topology_and_keeps_its_values(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.bucket("claims").create("kept", {"owner": "me"})
    monkeypatch.setattr(provisioning, "BUCKETS", (Bucket("claims", ttl_s=7200, history=3),))
    await provision(client.bus.connection)
    config = (await client.bus.jetstream.stream_info("KV_claims")).config
    assert (config.max_age, config.max_msgs_per_subject) == (7200, 3)
    assert await client.bucket("claims").get("kept")


@pytest.mark.integration
async def test_three_copies_on_one_server_are_refused_with_what_to_set(client: Client) -> None:
    with pytest.raises(Rejected, match=r"cannot keep 3 copies .* set LOOPLINE_REPLICAS"):
        await provision(client.bus.connection, replicas=3)


@pytest.mark.integration
async def test_a_store_without_room_for_a_stream_names_the_settings(tmp_path: Path) -> None:
    port = servers.free_port()
    with running(small_nats(tmp_path / "nats", port, 2**30), tmp_path / "nats.log"):
        connection = await nats.connect(f"nats://{servers.HOST}:{port}")
        try:
            with pytest.raises(Rejected, match=r"no room .* LOOPLINE_STREAMS"):
                await provision(connection)
            small = {row.name: StreamLimits.model_validate({"max_bytes": "8MiB"}) for row in STREAMS}
            await provision(connection, limits=small)
        finally:
            await connection.close()


@pytest.mark.integration
async def test_copies_grow_with_the_cluster_for_streams_durables_and_buckets(tmp_path: Path) -> None:
    buses = Servers(tmp_path, 3)
    await buses.start()
    try:
        connection = await buses.connect("test")
        jetstream = connection.jetstream(timeout=10)
        await provision(connection, replicas=1)
        assert (await jetstream.stream_info("KV_claims")).config.num_replicas == 1
        await provision(connection, replicas=3)
        for name in (LOOP, DEAD, *(f"KV_{bucket.name}" for bucket in BUCKETS)):
            assert (await jetstream.stream_info(name)).config.num_replicas == 3, name
        for row in CONSUMERS:
            info = await jetstream.consumer_info(row.stream, row.durable)
            assert info.cluster
            assert len(info.cluster.replicas or []) == 2, row.durable
        await connection.close()
    finally:
        await buses.stop()
