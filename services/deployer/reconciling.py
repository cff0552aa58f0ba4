"""What should be on the nodes, against what is: a node that started anew is empty and gets its models again."""

import logging

from services.chassis.errors import Away, Rejected, Retry
from services.deployer import golden
from services.deployer.installing import install, take_off, vetted
from services.deployer.ports import Artifacts, ModelNodes, ModelRefused, Routes, Trust
from services.deployer.rollout import model_name
from services.deployer.route import Route, Served
from services.deployer.turns import Turns

log = logging.getLogger(__name__)


class NotReconciled(Exception):
    """Something is still missing on a node; tried again in the next round."""


async def reconcile(
    *, nodes: ModelNodes, routes: Routes, artifacts: Artifacts, turns: Turns, trust: Trust, threads: int = 0
) -> None:
    """Bring the current and the previous version of every project to every node that lacks them, golden checked.

    A project whose rollout is in progress is left alone. No facts are said: nothing changes for anybody.

    Raises:
        NotReconciled: with a sentence for each model that a node does not have now.
    """
    problems: list[str] = []
    away: set[str] = set()
    for project in await routes.projects():
        if turns.taken(project):
            continue
        async with turns.of(project):
            found = await routes.get(project)
            if found is None:
                continue
            route, revision = found
            missing = await _reconcile(project, route, nodes, routes, artifacts, trust, threads, away)
            problems += missing
            if not missing and route.nodes != nodes.names:
                log.info("%s is served by %s from now on", project, ", ".join(nodes.names))
                await routes.put(project, route.model_copy(update={"nodes": nodes.names}), revision)
    if problems:
        raise NotReconciled("; ".join(problems))


async def _reconcile(
    project: str,
    route: Route,
    nodes: ModelNodes,
    routes: Routes,
    artifacts: Artifacts,
    trust: Trust,
    threads: int,
    away: set[str],
) -> list[str]:
    """What is missing still. A node that does not answer is `away` for the rest of the round: each time takes long."""
    problems = []
    for served in _both(route):
        for node in nodes.names:
            if node in away:
                problems.append(f"{served.model} may be missing on {node}")
                continue
            try:
                if await nodes.digest(node, served.model) == served.registered.model.file.sha256:
                    continue
                log.warning("%s lacks %s, which is loaded again", node, served.model)
                known = await vetted(served.registered, trust=trust, artifacts=artifacts)
                await install(served.registered, node, known, nodes=nodes, artifacts=artifacts, threads=threads)
            except Away as error:
                away.add(node)
                problems.append(str(error))
            except Retry as error:
                problems.append(str(error))
            except (ModelRefused, Rejected, golden.NotGolden) as error:
                await take_off(project, (served.version,), nodes, only=(node,))
                problems.append(f"{served.model} cannot serve on {node}: {error}")
            else:
                await _undo_if_replaced(project, served, nodes, routes)
    return problems


async def _undo_if_replaced(project: str, served: Served, nodes: ModelNodes, routes: Routes) -> None:
    """Another replica may have rolled out a newer version, and unloaded this one, while it was being loaded here."""
    found = await routes.get(project)
    if found and served.version not in {kept.version for kept in _both(found[0])}:
        log.info("%s was replaced meanwhile", model_name(project, served.version))
        await take_off(project, (served.version,), nodes)


def _both(route: Route) -> tuple[Served, ...]:
    """The current version first: it has the traffic."""
    return (route.current, route.previous) if route.previous else (route.current,)
