import io
import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contracts.events.prediction import PredictionCompleted, PredictionFailed, PredictionRequested, Timings
from services.chassis import images
from services.chassis.errors import Retry
from services.chassis.sketches import sketch
from services.predictor.answer import Unanswerable
from services.predictor.ports import NotLoaded
from tests.services.predictor.world import SERVING, World, encoded, inline


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_answer_has_everything_that_people_look_at(world: World) -> None:
    data = encoded(100, 50)
    answered = await world.requested(inline(data, metadata={"line": 3}))
    assert isinstance(answered, PredictionCompleted)
    assert (answered.prediction_id, answered.label, answered.confidence) == ("request-1", "defective", 0.75)
    assert (answered.model_name, answered.model_version, answered.node) == ("solar", 4, "local")
    assert (answered.metadata, answered.probabilities) == ({"line": 3}, (0.25, 0.75))
    assert (answered.image.width, answered.image.height) == (100, 50)
    assert world.blobs.read(answered.image.uri) == data
    assert answered.sketch == sketch(world.models.embedding)
    assert world.models.seen == [("solar-v4", (3, 32, 64))]
    assert answered.timings == Timings(waited_ms=7, decode_ms=1000, infer_ms=1000, total_ms=4000)
    assert answered.heat_map
    heat_map = np.asarray(Image.open(io.BytesIO(world.blobs.read(answered.heat_map.uri))))
    assert heat_map.tolist() == [[0, 255], [128, 255]]


async def test_image_of_the_store_is_not_stored_again(world: World) -> None:
    ref = world.blobs.put(encoded(format="JPEG"), "jpeg")
    answered = await world.requested(PredictionRequested(image_uri=ref.uri))
    assert isinstance(answered, PredictionCompleted)
    assert (answered.image.uri, answered.image.sha256) == (ref.uri, ref.sha256)


def _png_header(width: int, height: int) -> bytes:
    """A PNG that says it is so large, with no pixels behind it."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


def _frames(format: str) -> bytes:
    out = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(out, format, save_all=True, append_images=frames[1:])
    return out.getvalue()


BAD = {
    "empty": (b"", "the image is empty"),
    "no picture": (b"hello, world", "neither a PNG nor a JPEG"),
    "html": (b"<html>", "neither a PNG nor a JPEG"),
    "truncated PNG": (encoded()[:60], "truncated or damaged"),
    "truncated JPEG": (encoded(400, 400, format="JPEG")[:-300], "truncated or damaged"),
    "100 megapixels": (_png_header(10_000, 10_000), "100 megapixels"),
    "4000 megapixels": (_png_header(65_000, 65_000), "megapixels"),
    "animated GIF": (_frames("GIF"), "neither a PNG nor a JPEG"),
    "animated PNG": (_frames("PNG"), "animated"),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_picture_gets_its_reason_and_changes_nothing(world: World, tmp_path: Path, name: str) -> None:
    data, reason = BAD[name]
    answered = await world.requested(inline(data, metadata={"line": 3}))
    assert isinstance(answered, PredictionFailed)
    assert reason in answered.reason
    assert (answered.prediction_id, answered.metadata) == ("request-1", {"line": 3})
    assert world.models.seen == []
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "data",
    [
        encoded(mode="I;16"),
        encoded(mode="L"),
        encoded(mode="P"),
        encoded(mode="RGBA"),
        encoded(mode="CMYK", format="JPEG"),
        encoded(mode="L", format="JPEG"),
    ],
    ids=["16-bit grey", "grey", "palette", "transparent", "CMYK", "grey JPEG"],
)
async def test_every_kind_of_png_and_jpeg_is_looked_at(world: World, data: bytes) -> None:
    assert isinstance(await world.requested(inline(data)), PredictionCompleted)
    assert world.models.seen == [("solar-v4", (3, 32, 64))]


async def test_picture_lies_as_its_tag_says(world: World) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    answered = await world.requested(inline(encoded(100, 50, format="JPEG", exif=exif)))
    assert isinstance(answered, PredictionCompleted)
    assert (answered.image.width, answered.image.height) == (50, 100)
    assert (answered.image.width, answered.image.height) == images.size(world.blobs.read(answered.image.uri))


@pytest.mark.parametrize(
    ("request_", "project", "reason"),
    [
        (PredictionRequested(image_base64="%%%"), "solar", "image_base64 is not base64"),
        (PredictionRequested(image_uri=f"blob://{'0' * 64}.png"), "solar", "is not in the blob store"),
        (inline(encoded()), "wind", "there is no project wind: define it with `loopline project apply"),
        (inline(encoded()), "digits", "no model of digits serves yet"),
    ],
)
async def test_what_has_no_answer_gets_its_reason(
    world: World, request_: PredictionRequested, project: str, reason: str
) -> None:
    answered = await world.requested(request_, project)
    assert isinstance(answered, PredictionFailed)
    assert reason in answered.reason


async def test_image_that_the_model_refuses_is_an_answer(world: World) -> None:
    world.models.fails = [Unanswerable("solar-v4 cannot look at this image: too small")]
    answered = await world.requested(inline(encoded()))
    assert isinstance(answered, PredictionFailed)
    assert answered.reason.endswith("too small")


async def test_no_node_at_the_moment_is_tried_again_by_the_bus(world: World) -> None:
    world.models.fails = [Retry("no Triton node answers")]
    with pytest.raises(Retry):
        await world.requested(inline(encoded()))


async def test_route_that_moved_on_is_looked_up_at_once(world: World) -> None:
    world.models.fails = [NotLoaded("no Triton node has solar-v4")]
    world.routes.after_reread = SERVING.__class__(5, "solar-v5", SERVING.classes, 10, ("local",))
    answered = await world.requested(inline(encoded()))
    assert isinstance(answered, PredictionCompleted)
    assert answered.model_version == 5
    assert world.models.seen == [("solar-v4", (3, 32, 64)), ("solar-v5", (3, 5, 10))]
    world.models.fails = [NotLoaded("gone"), NotLoaded("gone")]
    with pytest.raises(Retry, match="gone"):
        await world.requested(inline(encoded()))


async def test_ask_is_answered_and_said(world: World) -> None:
    reply = json.loads(await world.asked(inline(encoded()).model_dump_json().encode()))
    ((fact, project),) = world.said
    assert isinstance(fact, PredictionCompleted)
    assert (reply["type"], project, fact.prediction_id) == (PredictionCompleted.TYPE, "solar", "ask-1")
    assert PredictionCompleted.model_validate(reply["data"]) == fact


async def test_ask_with_a_bad_picture_is_answered_and_said(world: World) -> None:
    reply = json.loads(await world.asked(inline(b"hello").model_dump_json().encode()))
    assert reply["type"] == PredictionFailed.TYPE
    assert [fact.prediction_id for fact, _ in world.said if isinstance(fact, PredictionFailed)] == ["ask-1"]


async def test_ask_while_no_node_answers_gets_a_clear_no(world: World) -> None:
    world.models.fails = [Retry("no Triton node answers for solar-v4")]
    reply = json.loads(await world.asked(inline(encoded()).model_dump_json().encode()))
    assert reply["data"]["reason"] == "no Triton node answers for solar-v4; ask again in some seconds"


@pytest.mark.parametrize(
    ("body", "project", "reason"),
    [
        (b"", "solar", "this is no prediction.requested"),
        (b"[]", "solar", "this is no prediction.requested"),
        (b"{}", "solar", "give image_base64 or image_uri, one of them"),
        (b'{"image_uri": "file:///etc/passwd"}', "solar", "image_uri: "),
        (b'{"image_base64": "", "metadata": {"a": [1]}}', "solar", "metadata.a"),
        (b"{}", "..", "cannot be a project's name"),
    ],
)
async def test_ask_that_cannot_be_understood_is_answered_to_the_asker_alone(
    world: World, body: bytes, project: str, reason: str
) -> None:
    reply = json.loads(await world.asked(body, project))
    assert reply["type"] == PredictionFailed.TYPE
    assert reason in reply["data"]["reason"]
    assert world.said == []
