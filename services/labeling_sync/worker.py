"""The child process that finds likely wrong labels: cleanlab brings pandas and scikit-learn, 170 MB for seconds."""

import io
import logging
import sys
import zlib
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from services.chassis.blobs import Blobs
from services.chassis.child import Report, serve
from services.chassis.errors import Rejected

_MOST = 1_000


def handle(job: dict[str, Any], report: Report) -> dict[str, Any]:
    """`{"blobs_root", "uri"}` -> `{"doubts": [{…}]}`, worst first, at most 1,000."""
    sha256, probabilities, labels, classes = read(Blobs(job["blobs_root"], make=False).read(job["uri"]))
    worst = likely_wrong(probabilities, labels)[:_MOST]
    likelier = probabilities.argmax(axis=1)
    return {
        "doubts": [
            {
                "sha256": str(sha256[i]),
                "label": str(classes[labels[i]]),
                "likelier": str(classes[likelier[i]]),
                "label_probability": float(probabilities[i, labels[i]]),
                "likelier_probability": float(probabilities[i, likelier[i]]),
            }
            for i in worst
        ]
    }


def likely_wrong(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> list[int]:
    """Rows whose label is likely wrong, the least likely first: confident learning, as cleanlab does it.

    `probabilities` float [n, C] of models that did not train on the row, `labels` int [n]. Northcutt, Jiang and Chuang
    2021, Journal of Artificial Intelligence Research 70:1373.
    """
    from cleanlab.filter import find_label_issues

    found = find_label_issues(labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    # Never one of which the model says the same.
    return [int(i) for i in found if probabilities[i].argmax() != labels[i]]


def read(data: bytes) -> tuple[Any, NDArray[np.float64], NDArray[np.int64], Any]:
    """sha256 (n,), probabilities (n, C), labels (n,), classes (C,).

    Raises:
        Rejected: it is no such file; the text says what is wrong.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            sha256, classes = file["sha256"], file["classes"]
            probabilities, labels = file["probabilities"].astype(np.float64), file["labels"].astype(np.int64)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise Rejected(f"the doubts of the training are no npz with what the contract names: {error}") from error
    shape = (len(sha256), len(classes))
    if probabilities.shape != shape or labels.shape != shape[:1]:
        raise Rejected(f"the doubts do not fit together: {probabilities.shape} probabilities for {shape}")
    if not np.isfinite(probabilities).all() or (probabilities < 0).any() or (probabilities > 1.001).any():
        raise Rejected("the doubts hold probabilities that are none")
    if len(labels) and not (labels.min() >= 0 and labels.max() < len(classes)):
        raise Rejected(f"the doubts hold labels outside of 0 to {len(classes) - 1}")
    return sha256, np.clip(probabilities, 0, 1), labels, classes


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr)
    serve(handle)
