"""A project's counterpart, an image's task and a given label: each made once, however often it is asked for."""

import logging
from dataclasses import asdict, replace
from itertools import count

from contracts.project import ScopeCard
from services.chassis.heard import Heard
from services.labeling_sync.claiming import Result, once
from services.labeling_sync.labels import GivenLabel, MadeTask, NewTask
from services.labeling_sync.ports import Ports

log = logging.getLogger(__name__)


async def counterpart(card: ScopeCard, heard: Heard, ports: Ports) -> int:
    """The id of the project's counterpart in the labelling tool, made now where there is none.

    Raises:
        Busy: another replica is making it.
    """
    found = await ports.labelling.find_project(card.project)
    # A message that comes again may have made it, and died before its claim was finished: nobody else could do that.
    if found is not None and heard.tries == 1:
        return found
    # Of the many images of a new project, that arrive at once, one makes it while the others wait here.
    async with ports.turns[card.project]:
        return await _made_counterpart(card, heard, ports)


async def _made_counterpart(card: ScopeCard, heard: Heard, ports: Ports) -> int:
    """One that somebody deleted is made anew: the card says that the project exists. So the claim has generations."""

    async def make() -> Result:
        project_id = await ports.labelling.create_project(card)
        await ports.labelling.fit_project(project_id, card)
        return {"id": project_id}

    for generation in count():
        found = await ports.labelling.find_project(card.project)
        if found is not None and heard.tries == 1:
            return found
        if found is None and generation:
            log.warning("%s was deleted in the labelling tool; it is made anew, without its labels", card.project)
        key = f"label-studio-project.{card.project}" + (f".{generation}" if generation else "")
        made = int((await once(ports.claims, key, heard.owner, make))["id"])
        if made == await ports.labelling.find_project(card.project):
            return made
    raise AssertionError("unreachable")


async def task_for(wanted: NewTask, card: ScopeCard, heard: Heard, ports: Ports) -> MadeTask:
    """The image's task, made now where there is none; one that is there keeps what it is.

    Raises:
        BadPicture: the image is missing or cannot be read; nothing was changed.
        Busy: another message is making this task.
    """
    project = heard.project
    project_id = await counterpart(card, heard, ports)

    async def make() -> Result:
        width, height = await ports.pictures.check(wanted.uri, wanted.sha256)
        task = replace(wanted, width=width, height=height)
        return asdict(await ports.labelling.make_task(project, task))

    return MadeTask(**await once(ports.claims, f"task.{project}.{project_id}.{wanted.sha256}", heard.owner, make))


async def labelled(task: MadeTask, label: GivenLabel, heard: Heard, ports: Ports) -> bool:
    """Put the label on the task unless it is or was there. False when the task was deleted in the labelling tool."""
    if task.label_id == label.id:
        return True

    async def give() -> Result:
        return {"given": await ports.labelling.add_label(task.id, label)}

    return bool((await once(ports.claims, f"label.{heard.project}.{label.id}", heard.owner, give))["given"])
