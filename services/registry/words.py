"""What was said about versions so far: which ones served, and which ones people took back."""

from contracts.events.deployment import DeploymentCompleted
from contracts.events.model import ModelApproved, ModelDemoted, ModelRejected, ModelVersion
from services.registry.domain import withdrawn_by
from services.registry.ports import Said


async def withdrawn(project: str, said: Said) -> frozenset[int]:
    """The versions that a person rejected or demoted, and nobody approved since. The gates do not count as somebody."""
    words = [(seq, event.version.version, False) async for event, _, seq in said.read(ModelRejected, project)]
    words += [(seq, event.version.version, False) async for event, _, seq in said.read(ModelDemoted, project)]
    if words:
        words += [
            (seq, event.version.version, True)
            async for event, _, seq in said.read(ModelApproved, project)
            if event.approved_by != "gates"
        ]
    return withdrawn_by(words)


async def served(project: str, said: Said) -> list[ModelVersion]:
    """Every version that served, in the order in which they did; the last one serves."""
    return [event.version async for event, _, _ in said.read(DeploymentCompleted, project)]
