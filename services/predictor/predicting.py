"""The one path from a request to its answer, however it was asked."""

import logging
from datetime import datetime

from contracts.events.prediction import PredictionCompleted, PredictionFailed, PredictionRequested, Timings
from contracts.events.project import ProjectDefined
from services.chassis.sketches import sketch
from services.predictor.answer import Serving, Unanswerable, grey, verdict
from services.predictor.ports import NotLoaded, Ports

log = logging.getLogger(__name__)


async def predict(
    request: PredictionRequested, *, project: str, prediction_id: str, asked_at: datetime, ports: Ports
) -> PredictionCompleted | PredictionFailed:
    """Answer a request, or say why it has no answer.

    Raises:
        Away: no node answers at the moment.
        NotLoaded: no node has the model at the moment.
        Retry: the model failed at this image.
    """
    waited_ms = max(0.0, (ports.now() - asked_at).total_seconds() * 1000)
    try:
        try:
            return await _look(request, project, prediction_id, waited_ms, ports)
        except NotLoaded as error:
            # The route moved on and its old model is unloaded, before this replica heard of it.
            log.info("looks the route up again: %s", error)
            await ports.routes.reread(project)
            return await _look(request, project, prediction_id, waited_ms, ports)
    except Unanswerable as why:
        return PredictionFailed(prediction_id=prediction_id, reason=str(why), metadata=request.metadata)


async def _look(
    request: PredictionRequested, project: str, prediction_id: str, waited_ms: float, ports: Ports
) -> PredictionCompleted:
    began = ports.clock()
    serving = await _serving(project, ports)
    opening = ports.clock()
    picture = await ports.pictures.open(request.image_base64, request.image_uri, serving.max_side)
    asking = ports.clock()
    answer = await ports.models.infer(serving, picture.pixels)
    answered = ports.clock()
    said = verdict(serving, answer.probabilities)
    image, heat_map = await ports.pictures.keep(picture, grey(answer.heat_map))
    return PredictionCompleted(
        prediction_id=prediction_id,
        image=image,
        label=said.label,
        confidence=said.confidence,
        classes=serving.classes,
        probabilities=said.probabilities,
        heat_map=heat_map,
        sketch=sketch(answer.embedding),
        model_name=project,
        model_version=serving.version,
        node=answer.node,
        timings=Timings(
            waited_ms=waited_ms,
            decode_ms=(asking - opening) * 1000,
            infer_ms=(answered - asking) * 1000,
            total_ms=(ports.clock() - began) * 1000,
        ),
        metadata=request.metadata,
    )


async def _serving(project: str, ports: Ports) -> Serving:
    serving = await ports.routes.of(project)
    if serving:
        return serving
    if await ports.said.last(ProjectDefined, project) is None:
        raise Unanswerable(f"there is no project {project}: define it with `loopline project apply CARD`")
    raise Unanswerable(
        f"no model of {project} serves yet: label images and let it train; "
        f"`loopline status --project {project}` shows how far it is"
    )
