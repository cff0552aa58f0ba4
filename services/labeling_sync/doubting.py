"""What labeling-sync does about a training that doubts labels: the worst come back to people, each once."""

from dataclasses import asdict

from contracts.envelope import derive_id
from contracts.events.base import Event
from contracts.events.label import LabelDoubted
from contracts.events.training import TrainingCompleted
from contracts.project import ScopeCard
from services.chassis.heard import Heard
from services.labeling_sync.cards import card_of
from services.labeling_sync.claiming import Result, once
from services.labeling_sync.ports import NoSuchProject, Ports
from services.labeling_sync.second_look import Ask, Doubt, asked_about


async def on_training_completed(event: TrainingCompleted, heard: Heard, *, ports: Ports) -> list[Event]:
    """Give the tasks of the labels that are most likely wrong back to people. Who has looked is not asked again.

    The choice is kept before the first task is touched: after a crash the same ones are asked about, and no others.
    """
    card = await card_of(ports.bus, heard.project)
    if card is None or event.doubts is None or not card.label.second_look.most:
        return []
    cause = derive_id(heard.envelope.id)

    async def choose() -> Result:
        return {"asks": [asdict(ask) for ask in await _choose(event, card, heard.project, ports)]}

    chosen = await once(ports.claims, f"doubts.{heard.project}.{cause}", heard.owner, choose)
    facts: list[Event] = []
    for ask in (Ask(Doubt(**one["doubt"]), one["task_id"]) for one in chosen["asks"]):
        if await _asked(ask, cause, card, heard, ports):
            facts.append(_doubted(ask, event.run_id, card))
    return facts


async def _choose(event: TrainingCompleted, card: ScopeCard, project: str, ports: Ports) -> list[Ask]:
    assert event.doubts
    try:
        room = card.label.second_look.most - await ports.labelling.second_looks(project)
        if room <= 0:
            return []
        doubts = await ports.doubts.likely_wrong(event.doubts)
        class_of = card.data.class_of
        said = ports.bus.read(LabelDoubted, project)
        before = {(one.image_sha256, class_of(one.label)) async for one, _, _ in said}
        tasks = await ports.labelling.tasks_of(project, [doubt.sha256 for doubt in doubts])
    except NoSuchProject:
        return []
    return asked_about(doubts, tasks, before, card.label.conflict, class_of, room)


async def _asked(ask: Ask, cause: str, card: ScopeCard, heard: Heard, ports: Ports) -> bool:
    """Whether it is this training that asks. Two that end at once may doubt the same label: one of them asks."""

    async def give_back() -> Result:
        return {"by": cause, "given": await ports.labelling.give_back(heard.project, ask.task_id, ask.doubt.sentence)}

    label = derive_id(ask.doubt.sha256, card.data.class_of(ask.doubt.label))
    done = await once(ports.claims, f"doubt.{heard.project}.{label}", heard.owner, give_back)
    return bool(done["given"]) and done["by"] == cause


def _doubted(ask: Ask, run_id: str, card: ScopeCard) -> LabelDoubted:
    doubt = ask.doubt
    return LabelDoubted(
        image_sha256=doubt.sha256,
        label=card.data.class_of(doubt.label),
        likelier=card.data.class_of(doubt.likelier),
        label_probability=doubt.label_probability,
        likelier_probability=doubt.likelier_probability,
        task_id=ask.task_id,
        run_id=run_id,
    )
