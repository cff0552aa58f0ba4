"""The warm child process of the evaluator: imports torch once, then compares models.

python -m services.evaluator.worker
"""

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import torch

from contracts.events.evaluation import Comparison, SliceMetrics
from services.chassis.blobs import BlobMissing, Blobs
from services.chassis.child import serve
from services.chassis.errors import Rejected
from services.evaluator.adapters.parquet_manifest import test_images
from services.evaluator.asking import Asked
from services.evaluator.comparison import compare
from services.evaluator.job import Compared, Job, Places, Shared
from services.evaluator.slices import slices


def handle(given: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Compare the models of `given["job"]` with the `given["places"]`; returns a `Compared`.

    Raises:
        Rejected: a model or an image is gone or bad; the text says which.
    """
    job, places = Job.model_validate(given["job"]), Places.model_validate(given["places"])
    blobs = Blobs(places.blobs_root)
    try:
        images = test_images(blobs.read(job.manifest.uri))
    except BlobMissing as error:
        raise Rejected(f"the dataset's manifest is gone ({error}): freeze a new dataset version") from error
    known = {job.renamed.get(label, label) for label in job.candidate.classes}
    unknown = sorted({job.renamed.get(image.label, image.label) for image in images} - known)
    if unknown:
        raise Rejected(
            f"the manifest has test images of {', '.join(unknown)}, which the candidate does not know: "
            "train again on the newest dataset version"
        )
    ask = partial(Asked, images=images, blobs=blobs, kept_root=places.kept_root, renamed=job.renamed)
    candidate = ask("candidate", job.candidate)
    shared = in_common(candidate, ask("champion", job.champion), job.compare) if job.champion else None
    truth, probabilities = candidate.answered(candidate.classes)
    parts = slices(
        [image.metadata for image in images],
        truth,
        probabilities,
        candidate.classes,
        metric=job.slice_metric,
        keys=job.slice_keys,
    )
    return Compared(
        candidate=candidate.metrics(candidate.classes),
        shared=shared,
        slices=tuple(SliceMetrics.model_validate(asdict(part)) for part in parts),
    ).model_dump(mode="json")


def in_common(candidate: Asked, champion: Asked, metric: str) -> Shared:
    """Both models on what both know."""
    both = tuple(label for label in candidate.classes if label in champion.classes)
    found = Shared(
        images=len(candidate.rows(both)),
        only_candidate_knows=tuple(label for label in candidate.classes if label not in both),
        only_champion_knows=tuple(label for label in champion.classes if label not in both),
        candidate=None,
        champion=None,
    )
    if len(both) < 2:
        return found
    truth, mine = candidate.answered(both)
    compared = compare(truth, mine, champion.answered(both)[1], both, metric)
    return found.model_copy(
        update={
            "candidate": candidate.metrics(both),
            "champion": champion.metrics(both),
            "comparison": Comparison.model_validate(asdict(compared)) if compared else None,
        }
    )


def warm() -> None:
    """Pay before the first job what is paid once."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr)
    serve(handle, warm)
