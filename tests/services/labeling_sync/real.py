"""What the tests against the real Label Studio share: cards, pictures, and what a person does in the browser."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx

from contracts.events.base import ImageRef
from contracts.project import ScopeCard
from services.chassis.blobs import Blobs
from services.chassis.images import encode_png
from tests.conftest import LabelStudioServer
from tests.manifests import picture


def a_card(project: str, *classes: str) -> ScopeCard:
    data = {"classes": classes or ("good", "bad & ugly"), "min_train_per_class": 1}
    label = {
        "freeze": {"new_labels": 1_000, "quiet_s": 86_400},
        "query": {"every": 12, "quiet_s": 86_400, "uncertain": 3, "random_share": 0.2},
    }
    return ScopeCard.model_validate({"project": project, "data": data, "label": label})


def a_project() -> str:
    return f"p-{uuid4().hex[:12]}"


def a_picture(blobs: Blobs, number: int) -> ImageRef:
    blob = blobs.put(encode_png(picture(0, number)), "png")
    return ImageRef(uri=blob.uri, sha256=blob.sha256, width=48, height=48)


@asynccontextmanager
async def browser(server: LabelStudioServer) -> AsyncIterator[httpx.AsyncClient]:
    """Label Studio as a person's browser sees it."""
    headers = {"Authorization": f"Token {server.token}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=30, trust_env=False) as client:
        yield client


async def annotate(api: httpx.AsyncClient, task_id: int, label: str, **more: object) -> int:
    result = [{"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [label]}}]
    answer = await api.post(f"/api/tasks/{task_id}/annotations/", json={"result": result, "lead_time": 1.5, **more})
    return int(answer.raise_for_status().json()["id"])
