"""labeling-sync: what it hears, what it does by itself, and with what."""

import asyncio
from collections import defaultdict
from functools import partial

from contracts.events.dataset import DatasetRequested
from contracts.events.feedback import FeedbackGiven
from contracts.events.image import ImageAdded
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainingCompleted
from contracts.topology import CURSORS
from services.chassis.app import Service
from services.chassis.child import WarmChild
from services.chassis.telemetry import span
from services.labeling_sync.adapters.blob_store import BlobPictures, ParquetManifests
from services.labeling_sync.adapters.cleanlab_process import WORKER, CleanlabProcess
from services.labeling_sync.adapters.cursors import KeptCursors
from services.labeling_sync.adapters.label_studio import Http, LabelStudio, ServedPictures
from services.labeling_sync.cards import Cards
from services.labeling_sync.doubting import on_training_completed
from services.labeling_sync.handlers import (
    on_dataset_requested,
    on_feedback_given,
    on_image_added,
    on_project_defined,
)
from services.labeling_sync.hinting import HOOK_PATH, HintDoor, HookKeeper
from services.labeling_sync.polling import poll_labels
from services.labeling_sync.ports import Labelling, Ports
from services.labeling_sync.querying import Query
from services.labeling_sync.settings import LabelingSyncSettings
from services.labeling_sync.withdrawing import SaidLabels, Sweep

_HOOKS_PERIOD_S = 5.0


def build(settings: LabelingSyncSettings | None = None, labelling: Labelling | None = None) -> Service:
    """The service, not yet connected. `labelling` stands in for Label Studio."""
    settings = settings or LabelingSyncSettings()
    service = Service("labeling-sync", settings)
    studio: LabelStudio | None = None
    if labelling is None:
        labelling = studio = _label_studio(service, settings)
        service.ready_when("label-studio", studio.answers)
    child = WarmChild(WORKER)
    service.on_stop(child.stop)
    ports = Ports(
        bus=service.bus,
        claims=service.claims,
        cursors=KeptCursors(service.bus.bucket(CURSORS)),
        labelling=labelling,
        pictures=BlobPictures(service.blobs),
        manifests=ParquetManifests(service.blobs),
        doubts=CleanlabProcess(child, settings.blobs_root),
        now=service.bus.now,
        span=span,
        turns=defaultdict(asyncio.Lock),
    )
    service.hear("labeling-sync-projects", {ProjectDefined: partial(on_project_defined, ports=ports)})
    service.hear("labeling-sync-images", {ImageAdded: partial(on_image_added, ports=ports)})
    service.hear("labeling-sync-datasets", {DatasetRequested: partial(on_dataset_requested, ports=ports)})
    service.hear("labeling-sync-feedback", {FeedbackGiven: partial(on_feedback_given, ports=ports)})
    service.hear("labeling-sync-doubts", {TrainingCompleted: partial(on_training_completed, ports=ports)})
    query = Query(Cards(service.bus), ports)
    said = SaidLabels(service.bus)
    soon = service.every(settings.poll_period_s, partial(poll_labels, Cards(service.bus), said, ports), name="labels")
    service.every(settings.sweep_period_s, Sweep(Cards(service.bus), said, ports).look, name="withdrawals")
    service.every(settings.poll_period_s, query.look, name="query")
    secret = settings.label_studio_hook_secret.get_secret_value()
    if secret:
        service.answer_http(HOOK_PATH, HintDoor(secret, soon))
    if settings.label_studio_hook_url and studio:
        keeper = HookKeeper(Cards(service.bus), studio.hooks, settings.label_studio_hook_url, secret, service.bus.now)
        service.every(_HOOKS_PERIOD_S, keeper.look, name="hooks")
    return service


def _label_studio(service: Service, settings: LabelingSyncSettings) -> LabelStudio:
    http = Http(
        settings.label_studio_url,
        settings.label_studio_token.get_secret_value(),
        timeout_s=settings.label_studio_timeout_s,
    )
    service.on_stop(http.close)
    return LabelStudio(http, ServedPictures(service.blobs, settings.blobs_root, settings.label_studio_files_root))
