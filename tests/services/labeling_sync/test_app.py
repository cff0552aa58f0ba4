from contracts.topology import CONSUMERS
from services.labeling_sync.app import build
from services.labeling_sync.settings import LabelingSyncSettings
from tests.services.labeling_sync.world import FakeLabelling


def test_it_hears_every_durable_that_the_topology_gives_it() -> None:
    service = build(LabelingSyncSettings(), FakeLabelling())
    assert set(service.deliveries) == {row.durable for row in CONSUMERS if row.service == "labeling-sync"}
