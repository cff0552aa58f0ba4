"""Labels that a model finds unlikely: which of them people are asked about once more, and when one has looked. Pure."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from services.labeling_sync.annotators import Rule
from services.labeling_sync.datasets import labelled_images
from services.labeling_sync.labels import Task


@dataclass(frozen=True)
class Doubt:
    """A likely wrong label, with the probabilities of the class that was given and of the likeliest one."""

    sha256: str
    label: str
    likelier: str
    label_probability: float
    likelier_probability: float

    @property
    def sentence(self) -> str:
        """What stands beside the task in Label Studio."""
        return (
            f"labelled {self.label} ({self.label_probability:.0%} likely): "
            f"is it {self.likelier} ({self.likelier_probability:.0%})?"
        )


@dataclass(frozen=True)
class Ask:
    """A doubt that people are asked about, on the task that has the label."""

    doubt: Doubt
    task_id: int


def asked_about(
    doubts: Sequence[Doubt],
    tasks: Mapping[str, Task],
    asked_before: Collection[tuple[str, str]],
    rule: Rule,
    class_of: Callable[[str], str],
    room: int,
) -> list[Ask]:
    """Of the doubts, worst first, as many as there is `room` for.

    One that was `asked_before` (image, label) never comes again. One whose label people have changed meanwhile does not
    come at all, nor does one between two names of what is one class today.
    """
    found: list[Ask] = []
    for doubt in doubts:
        task, label = tasks.get(doubt.sha256), class_of(doubt.label)
        if len(found) >= room:
            break
        if task is None or (doubt.sha256, label) in asked_before or label == class_of(doubt.likelier):
            continue
        if any(one.label and one.label.label == label for one in labelled_images([task], rule, class_of)):
            found.append(Ask(doubt, task.id))
    return found


def has_been_looked_at(task: Task) -> bool:
    """Whether somebody labelled the task, confirmed its label, or skipped it since it was given back to people."""
    since = task.second_look_since
    return since is not None and any(one.updated_at > since for one in task.annotations)
