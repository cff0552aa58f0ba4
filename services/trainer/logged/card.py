"""The model card: what the model is, what it learned from, how good it is, how to use it, what it cannot do."""

from collections import Counter
from collections.abc import Mapping, Sequence

from services.trainer.dataset import SPLITS, Dataset
from services.trainer.job import Job

_LIMITS = """\
- It knows the classes above and nothing else: whatever it is shown, it answers one of them.
- The numbers are of validation images, on which it was calibrated too, so they flatter it a little. What counts is the
  evaluation on the test images, which Loopline says as `evaluation.completed`.
- Pictures from another camera, light or product than those in the dataset are new to it: watch its drift.
"""


def model_card(
    job: Job, dataset: Dataset, metrics: Mapping[str, float], *, revision: str, max_side: int, pictures: Sequence[str]
) -> str:
    """Markdown. `pictures` are files that lie beside it."""
    parameters = "\n".join(f"| `{name}` | `{value}` |" for name, value in sorted(job.plan.parameters.items()))
    numbers = "\n".join(f"| `{name}` | {value:.6g} |" for name, value in sorted(metrics.items()))
    shown = "\n".join(f"![{name.removesuffix('.png').replace('_', ' ')}]({name})" for name in pictures)
    code = f"revision `{revision}`" if revision else "an installed package, see `requirements.txt`"
    return f"""\
# {job.project}: {job.plan.recipe} on dataset {job.dataset_number}

A picture in, one of {_words(job.classes)} out, with a heat map of where the evidence is.

## What it learned from

Dataset version {job.dataset_number}, id `{job.plan.dataset_id}`, manifest `{job.manifest.uri}`.

{_counts(dataset)}

## How it was made

Recipe `{job.plan.recipe}`, seed {job.plan.seed}, {code}.

| parameter | value |
|---|---|
{parameters}

## How good it is

| metric | value |
|---|---|
{numbers}

{shown}

## How to use it

Loopline serves `model.pt` as it is. Anywhere else:

```python
import torch

model = torch.jit.load("model.pt").eval()
with torch.inference_mode():
    probabilities, heat_map, embedding = model(images)  # uint8 [N, 3, H, W], RGB
```

or `mlflow.pyfunc.load_model("runs:/RUN").predict(images)`, with the id of this run. Shrink images to {max_side} pixels
on their longer side first, as in training.

## What it cannot do

{_LIMITS}"""


def _words(classes: Sequence[str]) -> str:
    return ", ".join(f"*{name}*" for name in classes)


def _counts(dataset: Dataset) -> str:
    counts = Counter((example.label, example.split) for example in dataset.examples)
    lines = [f"| class | {' | '.join(SPLITS)} |", "|---|" + "---|" * len(SPLITS)]
    for label, name in enumerate(dataset.classes):
        lines.append(f"| {name} | {' | '.join(str(counts[label, split]) for split in SPLITS)} |")
    return "\n".join(lines)
