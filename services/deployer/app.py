"""The deployer: what it hears and with what it answers."""

from functools import partial
from typing import Any

from contracts.events.model import ModelApproved
from contracts.topology import DEPLOYMENTS
from services.chassis.app import Service
from services.chassis.signing import TrustedKeys
from services.deployer.adapters.blob_store import BlobArtifacts
from services.deployer.adapters.deployments import Deployments
from services.deployer.adapters.triton import TritonNodes
from services.deployer.handlers import on_model_approved
from services.deployer.ports import ModelNodes, Routes
from services.deployer.reconciling import reconcile
from services.deployer.settings import DeployerSettings
from services.deployer.turns import Turns


def build(
    settings: DeployerSettings | None = None, nodes: ModelNodes | None = None, routes: Routes | None = None
) -> Service:
    """The service, not yet connected. `nodes` stands in for Triton, `routes` for the bucket `deployments`.

    Raises:
        BadKey: it trusts no key.
    """
    settings = settings or DeployerSettings()
    service = Service("deployer", settings)
    if nodes is None:
        triton = TritonNodes(
            settings.triton_nodes,
            load_timeout_s=settings.triton_load_timeout_s,
            call_timeout_s=settings.triton_call_timeout_s,
        )
        service.on_stop(triton.close)
        service.ready_when("triton", triton.all_live)
        nodes = triton
    given: dict[str, Any] = {
        "nodes": nodes,
        "routes": routes or Deployments(service.bus.bucket(DEPLOYMENTS)),
        "artifacts": BlobArtifacts(service.blobs),
        "turns": Turns(),
        "trust": TrustedKeys(settings.trusted_keys_file),
        "threads": settings.triton_threads,
    }
    service.hear("deployer-rollouts", {ModelApproved: partial(on_model_approved, **given, said=service.bus)})
    service.every(settings.reconcile_period_s, partial(reconcile, **given), name="reconcile")
    return service
