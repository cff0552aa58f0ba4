"""`loopline lineage`: from a prediction or a version back to the labels and the people who gave them."""

import asyncio
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.errors import BadInput
from services.cli.options import AsJson, Project
from services.cli.session import session_of, the_project

if TYPE_CHECKING:
    from rich.tree import Tree

    from contracts.events.dataset import DatasetVersioned
    from contracts.events.prediction import PredictionCompleted
    from services.chassis.client import Client

_COLUMNS = ("sha256", "label", "split", "annotator")


@dataclass(frozen=True)
class Lineage:
    """Each step as the events have it; None where nothing is known of it. `labels` are the rows of the manifest."""

    project: str
    prediction: dict[str, Any] | None
    version: dict[str, Any]
    state: str
    why: str
    evaluation: dict[str, Any] | None
    training: dict[str, Any] | None
    dataset: dict[str, Any] | None
    labels: list[dict[str, Any]] | None
    labels_missing: str


def lineage(
    context: typer.Context,
    what: Annotated[str, typer.Argument(metavar="VERSION|PREDICTION_ID", help="A version's number or a prediction.")],
    project: Project = None,
    labels: Annotated[bool, typer.Option("--labels", help="Every label, not only how many of whom.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show where a model's answer comes from: version, evaluation, run, dataset, labels and who gave them."""
    session = session_of(context)

    async def work(client: "Client") -> Lineage:
        if what.isascii() and what.isdigit():
            return await lineage_of(client, await the_project(client, project), int(what))
        found = await client.find_prediction(what, project or "*")
        if found is None:
            raise BadInput(f"there is no prediction {what}: is the id whole? A version is a number, such as 7")
        return await lineage_of(client, found[1].project, found[0].model_version, found[0])

    found = session.run(work)
    if as_json:
        session.json(asdict(found))
    else:
        session.out.print(_tree(found, labels))


async def lineage_of(
    client: "Client", project: str, number: int, prediction: "PredictionCompleted | None" = None
) -> Lineage:
    """What the bus and the manifest say.

    Raises:
        BadInput: no such version was registered.
    """
    from contracts.events.dataset import DatasetVersioned
    from contracts.events.evaluation import EvaluationCompleted
    from contracts.events.training import TrainingCompleted
    from services.cli.versions import find, versions_of

    known = find(await versions_of(client, project), number, project)
    version = known.version
    evaluation = training = dataset = None
    async for judged, envelope, _ in client.read(EvaluationCompleted, project):
        if envelope.id == version.evaluation_id or (not version.evaluation_id and judged.run_id == version.run_id):
            evaluation = judged
    async for trained, _, _ in client.read(TrainingCompleted, project):
        if trained.run_id == version.run_id:
            training = trained
    async for frozen, _, _ in client.read(DatasetVersioned, project):
        if frozen.dataset_id == version.dataset_id:
            dataset = frozen
    rows, missing = await _labels(client, dataset) if dataset else (None, "its dataset version was never said")
    return Lineage(
        project=project,
        prediction=prediction.model_dump(mode="json") if prediction else None,
        version=version.model_dump(mode="json"),
        state=known.state,
        why=known.why,
        evaluation=evaluation.model_dump(mode="json") if evaluation else None,
        training=training.model_dump(mode="json") if training else None,
        dataset=dataset.model_dump(mode="json") if dataset else None,
        labels=rows,
        labels_missing=missing,
    )


async def _labels(client: "Client", dataset: "DatasetVersioned") -> tuple[list[dict[str, Any]] | None, str]:
    """The rows of the manifest, or why there are none."""
    from services.chassis.errors import Away, Rejected
    from services.chassis.manifest import read_manifest

    def read() -> list[dict[str, Any]]:
        return list(read_manifest(client.blobs.read(dataset.manifest.uri), _COLUMNS).to_pylist())

    try:
        return await asyncio.to_thread(read), ""
    except (Rejected, Away) as error:
        return None, str(error)


def _tree(found: Lineage, with_labels: bool) -> "Tree":
    from rich.tree import Tree

    version = found.version
    words = f"version {version['version']} of {found.project}: {found.state}; {found.why}"
    if found.prediction:
        said = found.prediction
        tree = Tree(
            f"prediction {said['prediction_id']}: {said['label']}, {said['confidence']:.0%} sure, "
            f"on node {said['node']}, image {said['image']['sha256'][:12]}"
        )
        top = tree.add(words)
    else:
        tree = top = Tree(words)
    signed = version["signature"]
    signature = f"signed by the key {signed['key_id']}" if signed else "not signed"
    top.add(f"model {version['model']['file']['sha256']}, {signature}")
    if found.evaluation:
        beside = f", beside version {version['parent_version']}" if version["parent_version"] else ""
        top.add(
            f"evaluation {version['evaluation_id'] or 'before ids were kept'}{beside}: {found.evaluation['sentence']}"
        )
    top.add(_run(found))
    frozen = found.dataset
    branch = top.add(
        f"dataset {version['dataset_number']} ({version['dataset_id']})"
        + (f", manifest {frozen['manifest']['sha256']}, {frozen['labels']} labels" if frozen else "")
    )
    for line in _labelled(found, with_labels):
        branch.add(line)
    return tree


def _run(found: Lineage) -> str:
    version = found.version
    plan = version["plan"] or (found.training or {}).get("plan")
    words = [f"run {version['run_id']}"]
    if plan:
        parameters = "".join(f", {name}={value}" for name, value in plan["parameters"].items() if value is not None)
        words.append(f"{plan['recipe']}, seed {plan['seed']}{parameters}")
    if found.training:
        words.append(f"{found.training['seconds']:.1f} s")
    if version["code_revision"]:
        words.append(f"code {version['code_revision']}")
    return ": ".join([words[0], ", ".join(words[1:])]) if words[1:] else words[0]


def _labelled(found: Lineage, with_labels: bool) -> list[str]:
    if found.labels is None:
        return [f"its labels cannot be shown: {found.labels_missing}"]
    if with_labels:
        return [
            f"image {row['sha256'][:12]} is {row['label']}, says {row['annotator'] or 'somebody'} ({row['split']})"
            for row in found.labels
        ]
    by: dict[str, Counter[str]] = {}
    for row in found.labels:
        by.setdefault(row["annotator"] or "somebody", Counter())[row["label"]] += 1
    return [
        f"{counts.total()} labels by {who}: {', '.join(f'{count} {label}' for label, count in sorted(counts.items()))}"
        for who, counts in sorted(by.items())
    ]
