from typing import Any
from xml.etree import ElementTree

import pytest

from services.labeling_sync.adapters.label_studio.shapes import label_config, new_task, task_of
from services.labeling_sync.labels import NewTask


def choices(*classes: str) -> list[tuple[str, str | None]]:
    return [
        (one.attrib["value"], one.get("hotkey")) for one in ElementTree.fromstring(label_config(classes)).iter("Choice")
    ]


def test_every_class_is_a_choice_with_a_hot_key_while_there_are_keys() -> None:
    assert choices("good", 'bad & "ugly"') == [("good", "1"), ('bad & "ugly"', "2")]
    assert choices(*(f"c{n}" for n in range(12)))[8:] == [("c8", "9"), ("c9", "0"), ("c10", None), ("c11", None)]
    assert choices("0", "1", "7") == [("0", "0"), ("1", "1"), ("7", "7")]


def test_metadata_that_are_called_like_ours_change_nothing() -> None:
    metadata: dict[str, str | int] = {
        "second_look": "?",
        "second_look_since": "yesterday",
        "chosen": "random",
        "camera": 3,
    }
    data = new_task(NewTask("0" * 64, "blob://x", "corrected", 1, 1, event="e", metadata=metadata), "url")["data"]
    assert (data["chosen"], data["camera"], "second_look_since" in data) == ("corrected", 3, False)
    found = task_of({"id": 1, "data": data, "updated_at": "2026-11-24T09:00:00Z", "annotations": []}, {})
    assert (found.metadata, found.second_look_since) == ({"camera": 3}, None)


def annotation(result: list[dict[str, Any]], completed_by: Any = 1, updated_by: Any = None) -> dict[str, Any]:
    return {
        "id": 5, "result": result, "was_cancelled": False, "lead_time": None, "updated_at": "2026-11-24T09:00:00Z",
        "completed_by": completed_by, "updated_by": updated_by,
    }  # fmt: skip


def choice(*labels: str, by: str = "") -> dict[str, Any]:
    meta = {"meta": {"labelled_by": by}} if by else {}
    return {"from_name": "label", "type": "choices", "value": {"choices": list(labels)}, **meta}


def read(one: dict[str, Any]) -> Any:
    task = {"id": 1, "data": {}, "updated_at": "2026-11-24T09:00:00.5Z", "annotations": [one]}
    return task_of(task, {1: "api@x", 2: "ada@x"}).annotations[0]


@pytest.mark.parametrize(
    ("result", "label"),
    [([choice("good")], "good"), ([], None), ([choice("good", "bad")], None), ([{"from_name": "note"}], None)],
)
def test_an_annotation_says_one_class_or_none(result: list[dict[str, Any]], label: str | None) -> None:
    assert read(annotation(result)).label == label


@pytest.mark.parametrize(
    ("one", "who"),
    [
        (annotation([choice("good", by="import")]), "import"),
        (annotation([choice("good", by="import")], 1, 1), "import"),
        (annotation([choice("good", by="import")], 1, 2), "ada@x"),
        (annotation([choice("good")], {"id": 2, "email": "ada@x"}, 2), "ada@x"),
        (annotation([choice("good")], None), ""),
    ],
)
def test_who_labelled_is_who_gave_the_label_or_changed_it_last(one: dict[str, Any], who: str) -> None:
    assert read(one).annotator == who
