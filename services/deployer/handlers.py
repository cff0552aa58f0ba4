"""What the deployer does about an approved version."""

from collections.abc import AsyncIterator

from contracts.events.base import Event
from contracts.events.deployment import DeploymentCompleted, DeploymentFailed, DeploymentStarted, NodeCheck
from contracts.events.model import ModelApproved, ModelVersion
from services.chassis.errors import Rejected
from services.chassis.heard import Heard
from services.deployer import golden
from services.deployer.installing import install, take_off, vetted
from services.deployer.ports import Artifacts, ModelNodes, ModelRefused, Routes, Said, Trust
from services.deployer.rollout import Step, may_linger, model_name, next_step
from services.deployer.route import Route, Served
from services.deployer.turns import Turns

ALL_NODES = "all"


async def on_model_approved(
    event: ModelApproved,
    heard: Heard,
    *,
    nodes: ModelNodes,
    routes: Routes,
    artifacts: Artifacts,
    turns: Turns,
    trust: Trust,
    said: Said,
    threads: int = 0,
) -> AsyncIterator[Event]:
    """Roll the version out over all nodes, then move the route; what served before serves until then.

    Nothing is pushed that no trusted key has signed as it is.

    Each step asks first whether it was done already, and all that `deployment.completed` says is kept with the route,
    so that a run after a crash at any point ends in the same state and says the same. An approval whose outcome was
    said is left alone, whatever serves by now: it has one outcome.
    """
    if event.version.name != heard.project:
        raise Rejected(f"a version of {event.version.name} was approved for the project {heard.project}")
    if await _is_answered(heard, said):
        return
    found = await routes.get(heard.project)
    serving = found[0].current.version if found else None
    if next_step(serving, event.version.version, event.instead_of) is Step.ROLL_OUT:
        yield DeploymentStarted(version=event.version, nodes=nodes.names, replaces=serving)
    async with turns.of(heard.project):
        ended = await _roll_out(event, nodes, routes, artifacts, trust, threads)
    # Another replica may have said it, and been overtaken, while this one stood still.
    if not await _is_answered(heard, said):
        yield ended


async def _is_answered(heard: Heard, said: Said) -> bool:
    """Whether the outcome of what is heard is stored.

    All of the project's outcomes are looked at, a few hundred at most: where the same approval was stored a second
    time, its outcome lies before it.
    """
    answered: set[str | None] = set()
    for outcome in (DeploymentCompleted, DeploymentFailed):
        answered |= {envelope.causation_id async for _, envelope, _ in said.read(outcome, heard.project)}
    return heard.envelope.id in answered


async def _roll_out(
    event: ModelApproved, nodes: ModelNodes, routes: Routes, artifacts: Artifacts, trust: Trust, threads: int
) -> DeploymentCompleted | DeploymentFailed:
    version, project = event.version, event.version.name
    found = await routes.get(project)
    route, revision = found if found else (None, None)
    step = next_step(route.current.version if route else None, version.version, event.instead_of)
    if route and step is Step.SAY_AGAIN:
        return await _completed(route.current, nodes)
    if route and step is Step.OVERTAKEN:
        if route.previous is None or route.previous.version != version.version:
            await take_off(project, (version.version,), nodes)
        return _failed(version, ALL_NODES, f"overtaken by version {route.current.version}, which serves")

    checks: list[NodeCheck] = []
    node = ALL_NODES
    try:
        known = await vetted(version, trust=trust, artifacts=artifacts)
        for node in nodes.names:
            checks.append(await install(version, node, known, nodes=nodes, artifacts=artifacts, threads=threads))
    except (ModelRefused, Rejected, golden.NotGolden) as error:
        await take_off(project, (version.version,), nodes)
        return _failed(version, node, f"{model_name(project, version.version)} takes no traffic: {error}")

    served = await _served(version, tuple(checks), route, nodes)
    new = Route(current=served, previous=route.current if route else None, nodes=nodes.names)
    await routes.put(project, new, revision)
    return await _completed(served, nodes)


async def _served(
    version: ModelVersion, checks: tuple[NodeCheck, ...], route: Route | None, nodes: ModelNodes
) -> Served:
    """The version with all that will be said about its rollout, decided before the route moves."""
    serving = route.current.version if route else None
    previous = route.previous.version if route and route.previous else None
    return Served(
        version=version.version,
        model=model_name(version.name, version.version),
        classes=version.model.classes,
        max_side=version.model.max_side,
        registered=version,
        checks=checks,
        replaces=serving,
        unloaded=tuple(
            [
                older
                for older in may_linger(version.version, serving, previous)
                if any([await nodes.digest(node, model_name(version.name, older)) for node in nodes.names])
            ]
        ),
    )


async def _completed(served: Served, nodes: ModelNodes) -> DeploymentCompleted:
    await take_off(served.registered.name, served.unloaded, nodes)
    return DeploymentCompleted(
        version=served.registered, checks=served.checks, replaces=served.replaces, unloaded=served.unloaded
    )


def _failed(version: ModelVersion, node: str, reason: str) -> DeploymentFailed:
    return DeploymentFailed(version=version, node=node, reason=reason)
