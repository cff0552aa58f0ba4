"""What people do in MLflow by hand is looked for: versions that they brought, and the alias `champion` moved.

MLflow's webhooks are lost where nobody listens, and say nothing of deletions: so it is asked every few seconds. An
alias is a wish and no approval, since MLflow does not say whose it is.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from contracts import runs
from contracts.envelope import Envelope, derive_id
from contracts.events.base import Event
from contracts.events.dataset import DatasetVersioned
from contracts.events.deployment import DeploymentCompleted
from contracts.events.model import ModelApprovalRequested, ModelPromoted, ModelRegistered, ModelVersion
from contracts.events.project import ProjectDefined
from contracts.events.training import TrainedModel, TrainingCompleted, TrainingFailed, TrainingPlan
from services.chassis.errors import Away
from services.registry.domain import is_by_hand
from services.registry.ports import ByHand, Files, NoSuchRun, NoSuchVersion, Speaking, StoredRun, StoredVersion

log = logging.getLogger(__name__)

_HANDED_OVER, _NOTE = "loopline.handed_over", "loopline.note"
_FILES = {
    runs.MODEL_FILE: "TorchScript",
    runs.GOLDEN_FILE: "images and the model's answers to them: loopline.golden makes it",
}
# Where the run does not say up to which side, in pixels, the model wants its images.
_MAX_SIDE = 512
# Of each logged parameter: MLflow takes thousands of characters, a message not any number of them.
_LONGEST_VALUE = 500


class CannotBeJudged(Exception):
    """What was brought lacks something; the text says what, and what to do."""


class NotLookedAt(Exception):
    """Something went wrong with these projects; tried again in the next round."""


@dataclass(frozen=True)
class Look:
    """One look at everything."""

    versions: ByHand
    bus: Speaking
    files: Files

    async def __call__(self) -> None:
        """Have judged what was brought and carries an alias; give `champion` back to what serves.

        Raises:
            Away: MLflow, the bus or the blob store does not answer.
            NotLookedAt: something is wrong with a project; the others were looked at.
        """
        problems = []
        for project, aliases in (await self.versions.all_aliases()).items():
            try:
                await self._look(project, aliases)
            except Away:
                raise
            except Exception as error:
                problems.append(f"{project}: {error}")
        if problems:
            raise NotLookedAt("; ".join(problems))

    async def _look(self, project: str, aliases: Mapping[str, int]) -> None:
        card = await self.bus.last(ProjectDefined, project)
        if card is None:
            return
        deployed = await self.bus.last(DeploymentCompleted, project)
        promoted = await self.bus.last(ModelPromoted, project)
        served = {said[0].version.version for said in (deployed, promoted) if said}
        for number in sorted({number for alias, number in aliases.items() if alias != "previous"} - served):
            await self._wish(project, number, card[0].card.data.classes)
        serving = deployed[0].version.version if deployed else None
        if is_by_hand(aliases.get("champion"), serving, promoted[0].version.version if promoted else None):
            await self._give_back(project, aliases.get("champion"), deployed)

    async def _wish(self, project: str, number: int, classes: tuple[str, ...]) -> None:
        """A version that is not registered by us is judged first, once."""
        try:
            version = await self.versions.version(project, number)
        except NoSuchVersion:
            return
        if "loopline.evaluation" in version.tags or _HANDED_OVER in version.tags:
            return
        try:
            trained = await self._trained(project, version, classes)
        except CannotBeJudged as error:
            reason = f"version {number} of {project}, brought to MLflow by hand, cannot be judged: {error}"
            if version.tags.get(_NOTE) != reason:
                await self._say(project, TrainingFailed(reason=reason), str(number), reason)
                await self.versions.tag(project, number, {_NOTE: reason})
            return
        said = await self._say(project, trained, str(number), trained.model.file.sha256)
        await self.versions.tag(project, number, {_NOTE: "it is judged before it may serve", _HANDED_OVER: said.id})

    async def _trained(self, project: str, version: StoredVersion, classes: tuple[str, ...]) -> TrainingCompleted:
        """What the trainer would say of this run."""
        if not version.run_id:
            raise CannotBeJudged("it has no run: register it from a run that has the artifact model.pt")
        try:
            run = await self.versions.run(version.run_id)
        except NoSuchRun as error:
            raise CannotBeJudged(f"{error}: register it from a run that is there") from error
        dataset = await self._dataset(project, run)
        there = await self.versions.artifacts(version.run_id)
        if missing := [f"{name} ({what})" for name, what in _FILES.items() if name not in there]:
            raise CannotBeJudged(f"its run {version.run_id} has no artifact {' and no '.join(missing)}: log it there")
        files = {
            name: await self.files.put(await self.versions.artifact(version.run_id, name), name.rpartition(".")[2])
            for name in _FILES
        }
        side = run.tags.get(runs.MAX_SIDE, "")
        return TrainingCompleted(
            plan=TrainingPlan(
                dataset_id=dataset.dataset_id,
                recipe=run.tags.get("loopline.recipe", "by-hand"),
                parameters={name: value[:_LONGEST_VALUE] for name, value in run.parameters.items()},
                seed=0,
            ),
            dataset_number=dataset.number,
            manifest=dataset.manifest,
            run_id=version.run_id,
            model=TrainedModel(
                file=files[runs.MODEL_FILE],
                golden=files[runs.GOLDEN_FILE],
                classes=classes,
                max_side=int(side) if side.isascii() and side.isdigit() and int(side) >= 8 else _MAX_SIDE,
            ),
            metrics={},
            seconds=run.seconds,
            code_revision=run.tags.get(runs.REVISION, ""),
        )

    async def _dataset(self, project: str, run: StoredRun) -> DatasetVersioned:
        """The one that the run names, by a dataset's digest or by a tag; the newest where it names none of ours."""
        named = {*run.datasets, run.tags.get(runs.DATASET, "")}
        newest = None
        async for event, _, _ in self.bus.read(DatasetVersioned, project):
            if event.dataset_id in named:
                return event
            newest = event
        if newest is None:
            raise CannotBeJudged(f"{project} has no dataset version to test it on: label some images first")
        return newest

    async def _give_back(
        self, project: str, taken_by: int | None, deployed: tuple[DeploymentCompleted, Envelope] | None
    ) -> None:
        """Let `champion` be what serves, and ask a person about the version that somebody gave it to."""
        if (await self.versions.aliases(project)).champion != taken_by:
            return  # a promotion was under way
        serving = deployed[0].version.version if deployed else None
        if taken_by is not None:
            why = f"while version {serving} serves" if serving else "while nothing serves"
            why = f"somebody gave it the alias champion in MLflow {why}; an alias is no approval"
            log.warning("%s version %d: %s, and it is taken back", project, taken_by, why)
            if version := await self._registered(project, taken_by):
                wish = ModelApprovalRequested(version=version, why=why)
                await self._say(project, wish, str(taken_by), deployed[1].id if deployed else "")
        if serving is None:
            await self.versions.drop_alias(project, "champion")
        else:
            await self.versions.set_alias(project, "champion", serving)

    async def _registered(self, project: str, number: int) -> ModelVersion | None:
        async for event, _, _ in self.bus.read(ModelRegistered, project):
            if event.version.version == number:
                return event.version
        return None

    async def _say(self, project: str, event: Event, *because: str) -> Envelope:
        """Say it under an id that follows from what it is about: a look that was cut short says the same again."""
        id_ = derive_id(project, event.TYPE, "by hand", *because)
        return await self.bus.send(
            event, Envelope.first(event, project=project, source=self.bus.source, id=id_, time=self.bus.now())
        )
