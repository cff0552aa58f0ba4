"""The files of a run: the model, its golden answers, and what people and MLflow want to see of it."""

from contracts.runs import GOLDEN_FILE, MODEL_FILE
from services.chassis.blobs import Blobs
from services.trainer.dataset import Dataset, Example
from services.trainer.job import Job
from services.trainer.logged.card import model_card
from services.trainer.logged.mlmodel import mlmodel
from services.trainer.logged.pictures import Pixels, pictures
from services.trainer.recipes.kept import pixels
from services.trainer.recipes.recipe import MadeModel


def files_of(job: Job, run_id: str, dataset: Dataset, made: MadeModel, blobs: Blobs, revision: str) -> dict[str, bytes]:
    """Bytes by name; `/` in a name is a folder."""

    def shown(example: Example) -> Pixels:
        return pixels(example, blobs, made.max_side)

    drawn = pictures(made.validated, job.classes, shown) if made.validated else {}
    card = model_card(job, dataset, made.metrics, revision=revision, max_side=made.max_side, pictures=sorted(drawn))
    exported = {"model.pt2": made.exported} if made.exported is not None else {}
    return {
        MODEL_FILE: made.model,
        GOLDEN_FILE: made.golden,
        "model_card.md": card.encode(),
        **mlmodel(run_id, made.golden, len(job.classes)),
        **drawn,
        **exported,
    }
