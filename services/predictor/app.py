"""The predictor: what it hears, what it is asked, and with what it answers."""

import time
from functools import partial
from uuid import uuid4

from contracts.envelope import Envelope
from contracts.events.base import Event
from contracts.events.prediction import PredictionRequested
from contracts.topology import DEPLOYMENTS, ask_subject
from services.chassis.app import Service
from services.predictor.adapters.deployments import WatchedRoutes
from services.predictor.adapters.pictures import BlobPictures
from services.predictor.adapters.triton import TritonModels
from services.predictor.handlers import answer_ask, on_prediction_requested
from services.predictor.ports import Models, Ports
from services.predictor.settings import PredictorSettings


def build(settings: PredictorSettings | None = None, models: Models | None = None) -> Service:
    """The service, not yet connected. `models` stands in for Triton."""
    settings = settings or PredictorSettings()
    service = Service("predictor", settings)
    pictures = BlobPictures(service.blobs, settings.decode_threads)
    service.on_stop(pictures.close)
    routes = WatchedRoutes(service.bus.bucket(DEPLOYMENTS))
    service.background(routes.watch, "watch-deployments")
    if models is None:
        triton = TritonModels(settings.triton_nodes, deadline_s=settings.triton_deadline_s)
        service.on_stop(triton.close)
        service.ready_when("triton", triton.any_live)
        models = triton
    ports = Ports(pictures, models, routes, service.bus, now=service.bus.now, clock=time.perf_counter)

    async def say(event: Event, project: str) -> Envelope:
        return await service.bus.say(event, project=project)

    service.hear("predictor-requests", {PredictionRequested: partial(on_prediction_requested, ports=ports)})
    service.reply(ask_subject("*"), partial(answer_ask, ports=ports, say=say, new_id=lambda: str(uuid4())))
    return service
