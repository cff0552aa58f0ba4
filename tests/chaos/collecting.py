"""Reads the books: the streams, the buckets, Label Studio and MLflow."""

import asyncio
from contextlib import aclosing
from typing import Any

import httpx
from mlflow import MlflowClient
from nats.js import JetStreamContext

from contracts.envelope import Envelope, NotAnEvent
from contracts.topology import CLAIMS, DEAD, DEPLOYMENTS, LOOP, PREDICTIONS
from services.chassis.client import Client
from services.chassis.errors import Rejected
from services.chassis.reading import Start, in_order
from services.chassis.understanding import understand
from tests.chaos.books import Annotation, Books, Dead, Fact, Run, Sent, Task, Version, Waiting

_CLAIM_TAG = "loopline.claim"
_PAGE = 5_000


async def read_books(
    client: Client, project: str, mlflow_url: str, studio: httpx.AsyncClient, sent: list[Sent], injected: set[Dead]
) -> Books:
    """Everything about the project, as of now."""
    mlflow = MlflowClient(mlflow_url)
    runs, versions, champion = await asyncio.to_thread(_of_mlflow, mlflow, project)
    route = await client.bucket(DEPLOYMENTS).get(project)
    return Books(
        sent=tuple(sent),
        facts=(*await _facts(client, LOOP), *await _facts(client, PREDICTIONS)),
        dead=await _dead(client),
        injected=frozenset(injected),
        tasks=tuple(await _tasks(studio, project)),
        runs=tuple(runs),
        versions=tuple(versions),
        champion=champion,
        served=int(route[0]["current"]["version"]) if route else None,
        claims=await _claims(client),
        waiting=await waiting(client),
    )


async def waiting(client: Client) -> tuple[Waiting, ...]:
    """How far every durable is."""
    return tuple(Waiting(state.durable, state.pending, state.unacked) for state in await client.consumers())


async def _messages(jetstream: JetStreamContext, stream: str) -> list[Any]:
    """All messages of a stream, in order, and as many as the server says there are."""
    state = (await jetstream.stream_info(stream)).state
    found: list[Any] = []
    if state.messages:
        async with aclosing(in_order(jetstream, stream, [">"], Start(seq=1))) as messages:
            async for message in messages:
                found.append(message)
                if message.metadata.sequence.stream >= state.last_seq:
                    break
    assert len(found) >= state.messages, f"read {len(found)} of {state.messages} messages of {stream}"
    return found


async def _facts(client: Client, stream: str) -> list[Fact]:
    facts = []
    for message in await _messages(client.bus.jetstream, stream):
        meta = message.metadata
        position = f"{meta.stream}:{meta.sequence.stream}"
        try:
            envelope = Envelope.read(message.subject, message.headers, stored_at=meta.timestamp, position=position)
            event = understand(envelope.type, message.data)
        except (NotAnEvent, Rejected):
            continue  # put in to become a dead letter, which is looked at there
        facts.append(Fact(envelope.id, event, envelope.causation_id or ""))
    return facts


async def _dead(client: Client) -> dict[Dead, str]:
    letters = {}
    for message in await _messages(client.bus.jetstream, DEAD):
        told = {name.removeprefix("loopline-dead-"): value for name, value in (message.headers or {}).items()}
        letters[Dead(told["stream"], int(told["sequence"]), told["durable"])] = told["reason"]
    return letters


async def _claims(client: Client) -> dict[str, dict[str, Any]]:
    bucket = client.bucket(CLAIMS)
    found = {key: await bucket.get(key) for key in await bucket.keys()}
    return {key: value[0] for key, value in found.items() if value}


def _of_mlflow(client: MlflowClient, project: str) -> tuple[list[Run], list[Version], int | None]:
    experiment = client.get_experiment_by_name(project)
    runs = client.search_runs([experiment.experiment_id], max_results=_PAGE) if experiment else []
    versions = client.search_model_versions(f"name = '{project}'", max_results=_PAGE)
    models = client.search_registered_models(f"name = '{project}'")
    champion = next((model.aliases.get("champion") for model in models), None)
    return (
        [Run(run.info.run_id, run.info.status, run.data.tags.get(_CLAIM_TAG, "")) for run in runs],
        [Version(int(version.version), str(version.run_id)) for version in versions],
        int(champion) if champion else None,
    )


async def _tasks(studio: httpx.AsyncClient, project: str) -> list[Task]:
    """The tasks of every project of Label Studio with the title: two projects would be two tasks an image."""
    title = f"loopline:{project}"
    found = (await studio.get("/api/projects/", params={"title": title, "page_size": 100})).raise_for_status().json()
    tasks = []
    for one in found["results"]:
        if one["title"] == title:
            params = {"exportType": "JSON", "download_all_tasks": "true", "interpolate_key_frames": "false"}
            answer = (await studio.get(f"/api/projects/{one['id']}/export", params=params)).raise_for_status()
            tasks += [_task(task) for task in answer.json()]
    return tasks


def _task(task: dict[str, Any]) -> Task:
    return Task(task["id"], task["data"]["sha256"], tuple(_annotation(one) for one in task["annotations"]))


def _annotation(annotation: dict[str, Any]) -> Annotation:
    (result,) = annotation["result"]
    by = (result.get("meta") or {}).get("labelled_by", "")
    return Annotation(annotation["id"], result["value"]["choices"][0], by)
