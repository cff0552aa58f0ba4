"""Between Label Studio's JSON and the words of this service."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from xml.sax.saxutils import quoteattr

from services.labeling_sync.labels import Annotation, GivenLabel, Guess, MadeTask, NewTask, Task

_CHOICES = "label"
_IMAGE = "image"
_HOTKEYS = "1234567890"
# Of a task's data: what is ours, and what tells of a prediction; the rest is metadata of the image.
SECOND_LOOK, _SECOND_LOOK_SINCE = "second_look", "second_look_since"
_OURS = {"image", "sha256", "uri", "chosen", "width", "height", SECOND_LOOK, _SECOND_LOOK_SINCE}
_OF_PREDICTIONS = {"predicted", "confidence", "model_version", "prediction_id"}


def title_of(project: str) -> str:
    """The natural key of a project's counterpart."""
    return f"loopline:{project}"


def label_config(classes: Sequence[str], former: Mapping[str, str] | None = None) -> str:
    """The labelling page: the picture, and one choice a class with a hot key while there are keys.

    Classes that are named by one character each, such as digits, have that as their key. `former` classes (name ->
    title) come last: annotations name them, and Label Studio would not show an annotation of a choice that is gone.
    """
    keys = classes if all(len(name) == 1 for name in classes) else _HOTKEYS
    choices = [
        f"<Choice value={quoteattr(name)}{f' hotkey={quoteattr(keys[place])}' if place < len(keys) else ''}/>"
        for place, name in enumerate(classes)
    ]
    choices += [f"<Choice value={quoteattr(title)} alias={quoteattr(name)}/>" for name, title in (former or {}).items()]
    return (
        f'<View><Image name="{_IMAGE}" value="$image"/><Choices name="{_CHOICES}" toName="{_IMAGE}" choice="single" '
        f'showInline="true">{"".join(choices)}</Choices></View>'
    )


def choices_of(project: Mapping[str, Any]) -> list[str]:
    """The classes that a project asks for now, as annotations name them."""
    return list((project.get("parsed_label_config") or {}).get(_CHOICES, {}).get("labels", []))


def former_title(name: str, successor: str) -> str:
    """How a choice that is no class any more is shown; `successor` is itself where it has none."""
    return f"{name} (now {successor})" if successor != name else f"{name} (no longer asked for)"


def new_task(task: NewTask, picture_url: str) -> dict[str, Any]:
    """A task as the import call takes it, with its label as an annotation and its guess as a prediction."""
    data = {
        **{key: value for key, value in task.metadata.items() if key not in _OURS},
        "image": picture_url,
        "sha256": task.sha256,
        "uri": task.uri,
        "chosen": task.chosen,
        "width": task.width,
        "height": task.height,
    }
    made: dict[str, Any] = {
        "data": data,
        "meta": {"event": task.event, "label_id": task.label.id if task.label else ""},
    }
    if task.label:
        made["annotations"] = [{"result": _given(task.label), "ground_truth": False}]
    if task.guess:
        made["predictions"] = [_prediction(task.guess)]
    return made


def new_annotation(label: GivenLabel) -> dict[str, Any]:
    """An annotation as the annotations call takes it. Label Studio refuses a second one of the same `unique_id`."""
    return {"unique_id": label.id, "result": _given(label), "ground_truth": False}


def new_prediction(task_id: int, guess: Guess) -> dict[str, Any]:
    """A guess as the predictions call takes it."""
    return {"task": task_id, **_prediction(guess)}


def made_task(task: Mapping[str, Any]) -> MadeTask:
    """A task that was found, with the label it came with if that is still on it, and whether it has a prediction."""
    meta = task.get("meta") or {}
    label_id = str(meta.get("label_id", ""))
    given = {item.get("id") for annotation in task["annotations"] for item in annotation["result"] or []}
    label_id = label_id if label_id[:10] in given else ""
    return MadeTask(int(task["id"]), str(meta.get("event", "")), label_id, guessed=bool(task.get("predictions")))


def task_of(task: Mapping[str, Any], people: Mapping[int, str]) -> Task:
    """A task of the list or of an export. `people`: id -> name of users that are given by id alone."""
    data = task["data"]
    return Task(
        id=int(task["id"]),
        sha256=str(data.get("sha256", "")),
        uri=str(data.get("uri", "")),
        chosen=str(data.get("chosen", "")),
        width=int(data.get("width") or 0),
        height=int(data.get("height") or 0),
        updated_at=datetime.fromisoformat(task["updated_at"]),
        annotations=tuple(_annotation(one, people) for one in task["annotations"]),
        second_look_since=datetime.fromisoformat(since) if (since := data.get(_SECOND_LOOK_SINCE)) else None,
        metadata={
            key: value
            for key, value in data.items()
            if key not in _OURS | _OF_PREDICTIONS and isinstance(value, str | int | float | bool)
        },
    )


def given_back(task: Mapping[str, Any], why: str) -> dict[str, Any]:
    """The data of a task that people look at once more."""
    since = max(datetime.fromisoformat(one["updated_at"]) for one in task["annotations"])
    return {**task["data"], SECOND_LOOK: why, _SECOND_LOOK_SINCE: since.isoformat()}


def taken_off(task: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a task that was looked at."""
    return {key: value for key, value in task["data"].items() if key not in (SECOND_LOOK, _SECOND_LOOK_SINCE)}


def people_in(tasks: Sequence[Mapping[str, Any]]) -> set[int]:
    """The users that are given by id alone."""
    ids = set()
    for task in tasks:
        for annotation in task["annotations"]:
            ids |= {who for who in (annotation["completed_by"], annotation["updated_by"]) if isinstance(who, int)}
    return ids


def _given(label: GivenLabel) -> list[dict[str, Any]]:
    return [{**_choice(label.label), "id": label.id[:10], "meta": {"labelled_by": label.by} if label.by else {}}]


def _prediction(guess: Guess) -> dict[str, Any]:
    return {"model_version": guess.model_version, "score": guess.score, "result": [_choice(guess.label)]}


def _choice(label: str) -> dict[str, Any]:
    return {"from_name": _CHOICES, "to_name": _IMAGE, "type": "choices", "value": {"choices": [label]}}


def _annotation(annotation: Mapping[str, Any], people: Mapping[int, str]) -> Annotation:
    items = [item for item in annotation["result"] or [] if item.get("from_name") == _CHOICES]
    choices = [choice for item in items for choice in item.get("value", {}).get("choices", [])]
    lead_time = annotation.get("lead_time")
    return Annotation(
        id=int(annotation["id"]),
        label=str(choices[0]) if len(choices) == 1 else None,
        skipped=bool(annotation["was_cancelled"]),
        annotator=_annotator(annotation, items, people)[:200],
        lead_time_s=max(0.0, float(lead_time)) if lead_time is not None else None,
        updated_at=datetime.fromisoformat(annotation["updated_at"]),
    )


def _annotator(annotation: Mapping[str, Any], items: list[dict[str, Any]], people: Mapping[int, str]) -> str:
    """Who labelled: the person who changed it last, or whom the label was given by where no other person did."""
    by, changed_by = _id(annotation["completed_by"]), _id(annotation["updated_by"])
    given_by = next((item["meta"]["labelled_by"] for item in items if (item.get("meta") or {}).get("labelled_by")), "")
    if given_by and changed_by in (None, by):
        return str(given_by)
    who = annotation["completed_by"] if changed_by in (None, by) else changed_by
    if isinstance(who, dict):
        return str(who.get("email") or who.get("username") or who["id"])
    return people[who] if who is not None else ""


def _id(who: Any) -> int | None:
    return int(who["id"]) if isinstance(who, dict) else who
