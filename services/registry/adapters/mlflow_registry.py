"""MLflow's Model Registry: one registered model a project."""

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from services.chassis.errors import Away
from services.chassis.mlflow_away import why_away
from services.registry.domain import Aliases
from services.registry.ports import NoSuchRun, NoSuchVersion

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")

MODEL_FILE = "model.pt"


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
        found = await self._call(
            lambda client: client.search_model_versions(f"name = '{project}' and run_id = '{run_id}'")
        )
        ours = [version for version in found if version.tags.get("loopline.model_sha256") == model_sha256]
        if not ours:
            return None
        first = min(ours, key=lambda version: int(version.version))
        return int(first.version), dict(first.tags)

    async def create(self, project: str, run_id: str, tags: dict[str, str], description: str) -> int:
        """A new version whose source is the run's `model.pt`; the registered model is made with its first version.

        Raises:
            NoSuchRun: MLflow does not know the run, or it was deleted.
        """
        try:
            run = await self._call(lambda client: client.get_run(run_id))
        except Exception as error:
            if _code(error) == "RESOURCE_DOES_NOT_EXIST":
                raise NoSuchRun(f"MLflow has no run {run_id}") from error
            raise
        if run.info.lifecycle_stage != "active":
            raise NoSuchRun(f"the MLflow run {run_id} was deleted")
        try:
            await self._call(lambda client: client.create_registered_model(project))
        except Exception as error:
            if _code(error) != "RESOURCE_ALREADY_EXISTS":
                raise
        # MLflow takes a source only if it lies within the run's own artifacts.
        source = f"{(run.info.artifact_uri or '').rstrip('/')}/{MODEL_FILE}"
        made = await self._call(
            lambda client: client.create_model_version(
                project, source, run_id, tags=tags, description=description, await_creation_for=0
            )
        )
        # Looked at once more: another replica may have made one meanwhile, when this one stood still. The older stays.
        found = await self.find(project, run_id, tags["loopline.model_sha256"])
        if found and found[0] < int(made.version):
            await self._call(lambda client: client.delete_model_version(project, made.version))
            return found[0]
        return int(made.version)

    async def aliases(self, project: str) -> Aliases:
        """Who carries `champion` and `previous`."""
        try:
            model = await self._call(lambda client: client.get_registered_model(project))
        except Exception as error:
            if _code(error) == "RESOURCE_DOES_NOT_EXIST":
                return Aliases()
            raise
        held = {alias: int(version) for alias, version in model.aliases.items()}
        return Aliases(held.get("champion"), held.get("previous"))

    async def set_alias(self, project: str, alias: str, version: int) -> None:
        """Point an alias to a version: one atomic write, the last one wins.

        Raises:
            NoSuchVersion: it was deleted.
        """
        try:
            await self._call(lambda client: client.set_registered_model_alias(project, alias, str(version)))
        except Exception as error:
            if _code(error) == "RESOURCE_DOES_NOT_EXIST":
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


def _code(error: Exception) -> str:
    """MLflow's error code: that is its interface, the text is not."""
    return str(getattr(error, "error_code", ""))
