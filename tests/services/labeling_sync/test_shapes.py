from typing import Any
from xml.etree import ElementTree

import pytest

from services.labeling_sync.adapters.label_studio.shapes import label_config, task_of


def choices(*classes: str) -> list[tuple[str, str | None]]:
    return [
        (one.attrib["value"], one.get("hotkey")) for one in ElementTree.fromstring(label_config(classes)).iter("Choice")
    ]


def test_every_class_is_a_choice_with_a_hot_key_while_there_are_keys() -> None:
    assert choices("good", 'bad & "ugly"') == [("good", "1"), ('bad & "ugly"', "2")]
    assert choices(*(f"c{n}" for n in range(12)))[8:] == [("c8", "9"), ("c9", "0"), ("c10", None), ("c11", None)]
    assert choices("0", "1", "7") == [("0", "0"), ("1", "1"), ("7", "7")]


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
