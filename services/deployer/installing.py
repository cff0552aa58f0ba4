"""Bringing one version onto one node, checked. What a rollout and the reconciler have in common."""

import logging

from contracts.events.deployment import NodeCheck
from contracts.events.model import ModelVersion
from services.chassis.errors import Retry
from services.deployer import golden
from services.deployer.golden import Golden, compare
from services.deployer.model_config import model_config
from services.deployer.ports import Artifacts, ModelNodes, ModelRefused, Trust
from services.deployer.rollout import model_name

log = logging.getLogger(__name__)


async def vetted(version: ModelVersion, *, trust: Trust, artifacts: Artifacts) -> Golden:
    """The golden images of a version, once its signature was checked: nothing is installed without them.

    Raises:
        Rejected: no trusted key has signed it, or the file is not in the blob store.
        NotGolden: the file holds no golden images.
    """
    trust.check(version)
    return golden.read(await artifacts.read(version.model.golden))


async def install(
    version: ModelVersion, node: str, known: Golden, *, nodes: ModelNodes, artifacts: Artifacts, threads: int
) -> NodeCheck:
    """Push the version unless the node has these very bytes already, then check it on the golden images.

    Raises:
        ModelRefused: the node does not take it, or answers the golden images otherwise than PyTorch did.
        Rejected: the model file is not in the blob store, or not the one that was registered.
        Away: the node cannot be reached.
    """
    trained = version.model
    name = model_name(version.name, version.version)
    load_s = 0.0
    if await nodes.digest(node, name) != trained.file.sha256:
        config = model_config(
            name,
            classes=len(trained.classes),
            max_side=trained.max_side,
            digest=trained.file.sha256,
            threads=threads,
        )
        load_s = await nodes.load(node, config, await artifacts.read(trained.file))
    compared = compare(known, await nodes.answer(node, name, known.images), trained.classes)
    if compared.problem:
        raise ModelRefused(compared.problem)
    return NodeCheck(
        node=node,
        load_s=load_s,
        golden_images=compared.images,
        largest_difference=compared.largest_difference,
    )


async def take_off(
    project: str, versions: tuple[int, ...], nodes: ModelNodes, only: tuple[str, ...] | None = None
) -> None:
    """Unload versions from all nodes, or `only` from some.

    A node that is away has lost its models with its process; if it has not, the next rollout finds what lingers.
    """
    for node in only or nodes.names:
        for version in versions:
            try:
                await nodes.unload(node, model_name(project, version))
            except Retry as error:
                log.warning("%s stays on %s for now: %s", model_name(project, version), node, error)
                break
