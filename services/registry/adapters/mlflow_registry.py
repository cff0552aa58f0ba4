"""MLflow's Model Registry: one registered model a project."""

import asyncio
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from contracts.runs import MODEL_FILE, MODEL_SHA256
from services.chassis.errors import Away
from services.chassis.mlflow_away import why_away
from services.registry.domain import Aliases
from services.registry.ports import NoSuchRun, NoSuchVersion, StoredRun, StoredVersion

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

T = TypeVar("T")

_OURS = MODEL_SHA256
_HANDED_OVER = "loopline.handed_over"
# For people to read. MLflow refuses more than 100,000 characters, its older servers more than these.
_LONGEST_TAG = 5_000
_NOT_THERE = "RESOURCE_DOES_NOT_EXIST"


class MlflowRegistry:
    """Calls MLflow's blocking client in threads. Its errors go up as they are, but for the few that decide."""

    def __init__(self, url: str, timeout_s: int) -> None:
        self._url = url
        # The client would repeat a request by itself, and a version whose creation is only slow would be made twice.
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
        os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(timeout_s)
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
        self._made: MlflowClient | None = None

    async def warm(self) -> None:
        """Import MLflow, which takes more than a second, before it is needed. Does not ask the server."""
        await asyncio.to_thread(self._client)

    async def answers(self) -> bool:
        """Whether the server answers; raises Away when it does not."""
        await self._call(lambda client: client.search_registered_models(max_results=1))
        return True

    async def find(self, project: str, run_id: str, model_sha256: str) -> tuple[int, dict[str, str]] | None:
        """The first version made by us from this model of this run, with its tags."""
        ours = [one for one in await self._of_run(project, run_id) if one.tags.get(_OURS) == model_sha256]
        first = min(ours, key=lambda version: version.number, default=None)
        return (first.number, dict(first.tags)) if first else None

    async def brought(self, project: str, run_id: str) -> int | None:
        """The version of this run that was not made by us: the first that is being judged, else the first."""
        theirs = [one for one in await self._of_run(project, run_id) if _OURS not in one.tags]
        first = min(theirs, key=lambda one: (_HANDED_OVER not in one.tags, one.number), default=None)
        return first.number if first else None

    async def _of_run(self, project: str, run_id: str) -> list[StoredVersion]:
        found = await self._call(
            lambda client: client.search_model_versions(f"name = '{project}' and run_id = '{run_id}'")
        )
        return [StoredVersion(int(one.version), run_id, dict(one.tags)) for one in found]

    async def create(self, project: str, run_id: str, tags: dict[str, str], description: str) -> int:
        """A new version whose source is the run's `model.pt`; the registered model is made with its first version.

        Raises:
            NoSuchRun: MLflow does not know the run, or it was deleted.
        """
        run = await self._run(run_id)
        try:
            await self._call(lambda client: client.create_registered_model(project))
        except Exception as error:
            if _code(error) != "RESOURCE_ALREADY_EXISTS":
                raise
        # MLflow takes a source only if it lies within the run's own artifacts.
        source = f"{(run.info.artifact_uri or '').rstrip('/')}/{MODEL_FILE}"
        cut = {name: _cut(value) for name, value in tags.items()}
        made = await self._call(
            lambda client: client.create_model_version(
                project, source, run_id, tags=cut, description=_cut(description), await_creation_for=0
            )
        )
        # Looked at once more: another replica may have made one meanwhile, when this one stood still. The older stays.
        found = await self.find(project, run_id, tags[_OURS])
        if found and found[0] < int(made.version):
            await self._call(lambda client: client.delete_model_version(project, made.version))
            return found[0]
        return int(made.version)

    async def tag(self, project: str, version: int, tags: Mapping[str, str]) -> None:
        """Set tags one after the other, for MLflow takes one at a time; empty ones are left out.

        Raises:
            NoSuchVersion: it was deleted.
        """
        for name, value in tags.items():
            if value:
                await self._to_version(
                    project,
                    version,
                    lambda client, name=name, value=value: client.set_model_version_tag(  # type: ignore[misc]
                        project, str(version), name, _cut(value)
                    ),
                )

    async def run(self, run_id: str) -> StoredRun:
        """A run, with what was logged.

        Raises:
            NoSuchRun: MLflow does not know it, or it was deleted.
        """
        run = await self._run(run_id)
        ended_ms = run.info.end_time or run.info.start_time
        return StoredRun(
            tags=dict(run.data.tags),
            parameters=dict(run.data.params),
            datasets=tuple(one.dataset.digest for one in (run.inputs.dataset_inputs if run.inputs else ())),
            seconds=max(0.0, (ended_ms - run.info.start_time) / 1000),
        )

    async def _run(self, run_id: str) -> "Run":
        try:
            run = await self._call(lambda client: client.get_run(run_id))
        except Exception as error:
            if _code(error) == _NOT_THERE:
                raise NoSuchRun(f"MLflow has no run {run_id}") from error
            raise
        if run.info.lifecycle_stage != "active":
            raise NoSuchRun(f"the MLflow run {run_id} was deleted")
        return run

    async def artifacts(self, run_id: str) -> frozenset[str]:
        """The names of the files in the folder of a run's artifacts."""
        listed = await self._call(lambda client: client.list_artifacts(run_id))
        return frozenset(one.path for one in listed if not one.is_dir)

    async def artifact(self, run_id: str, name: str) -> bytes:
        """One of them."""

        def load(client: "MlflowClient") -> bytes:
            with tempfile.TemporaryDirectory() as folder:
                return Path(client.download_artifacts(run_id, name, folder)).read_bytes()

        return await self._call(load)

    async def version(self, project: str, number: int) -> StoredVersion:
        """One version, whoever made it.

        Raises:
            NoSuchVersion: it was deleted.
        """
        found = await self._to_version(project, number, lambda client: client.get_model_version(project, str(number)))
        return StoredVersion(number, found.run_id or "", dict(found.tags))

    async def all_aliases(self) -> dict[str, dict[str, int]]:
        """Of every registered model its aliases, in a request for a hundred models."""
        found: dict[str, dict[str, int]] = {}
        token: str | None = None
        while True:
            page = await self._call(lambda client, token=token: client.search_registered_models(page_token=token))  # type: ignore[misc]
            found |= {model.name: _numbered(model.aliases) for model in page}
            token = page.token
            if not token:
                return found

    async def drop_alias(self, project: str, alias: str) -> None:
        """Take an alias away from whatever carries it; nothing happens where nothing does."""
        await self._call(lambda client: client.delete_registered_model_alias(project, alias))

    async def aliases(self, project: str) -> Aliases:
        """Who carries `champion` and `previous`."""
        try:
            model = await self._call(lambda client: client.get_registered_model(project))
        except Exception as error:
            if _code(error) == _NOT_THERE:
                return Aliases()
            raise
        held = _numbered(model.aliases)
        return Aliases(held.get("champion"), held.get("previous"))

    async def set_alias(self, project: str, alias: str, version: int) -> None:
        """Point an alias to a version: one atomic write, the last one wins.

        Raises:
            NoSuchVersion: it was deleted.
        """
        await self._to_version(
            project, version, lambda client: client.set_registered_model_alias(project, alias, str(version))
        )

    async def _to_version(self, project: str, version: int, ask: "Callable[[MlflowClient], T]") -> T:
        try:
            return await self._call(ask)
        except Exception as error:
            if _code(error) == _NOT_THERE:
                raise NoSuchVersion(f"MLflow has no version {version} of {project}") from error
            raise

    async def _call(self, ask: "Callable[[MlflowClient], T]") -> T:
        return await asyncio.to_thread(self._asked, ask)

    def _asked(self, ask: "Callable[[MlflowClient], T]") -> T:
        client = self._client()
        try:
            return ask(client)
        except Exception as error:
            if why := why_away(error, lambda: client.search_registered_models(max_results=1)):
                raise Away(f"MLflow at {self._url} {why}") from error
            raise

    def _client(self) -> "MlflowClient":
        if self._made is None:
            from mlflow import MlflowClient

            self._made = MlflowClient(tracking_uri=self._url, registry_uri=self._url)
        return self._made


def _numbered(aliases: Mapping[str, str]) -> dict[str, int]:
    return {alias: int(version) for alias, version in aliases.items()}


def _cut(value: str) -> str:
    return value[:_LONGEST_TAG]


def _code(error: Exception) -> str:
    """MLflow's error code: that is its interface, the text is not."""
    return str(getattr(error, "error_code", ""))
