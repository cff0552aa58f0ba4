import asyncio
import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from contracts.events.base import BlobRef
from contracts.events.dataset import Agreement, ClassCount, DatasetRequested, DatasetVersioned, LeftOut
from services.chassis.images import encode_png
from tests.manifests import manifest_of, picture, two_corners
from tests.services.cli.world import FakeClient, defined, refused, run

CLASSES = ("upper", "lower")


def with_version(client: FakeClient, manifest: BlobRef, number: int = 1, **more: Any) -> DatasetVersioned:
    version = DatasetVersioned(
        dataset_id=f"{number:016x}",
        number=number,
        manifest=manifest,
        classes=CLASSES,
        counts=tuple(ClassCount(label=name, train=2, validation=1, test=1) for name in CLASSES),
        labels=8,
        new_labels=3,
        **more,
    )
    asyncio.run(client.say(version, project="solar"))
    return version


@pytest.fixture
def client(tmp_path: Path) -> FakeClient:
    client = defined(tmp_path)
    with_version(client, two_corners(client.blobs, train=2, validation=1, test=1))
    return client


def test_dataset_is_requested_of_the_only_project(tmp_path: Path) -> None:
    client = defined(tmp_path)
    assert run(client, "dataset", "request", "--why", "before the audit").code == 0
    assert client.all(DatasetRequested) == [DatasetRequested(why="before the audit")]


def test_a_version_is_shown_with_what_was_left_out_and_how_far_people_agree(client: FakeClient) -> None:
    out = LeftOut(why="people-disagree", count=2, sentence="2 images are left out because people do not agree on it")
    agreement = Agreement(images=40, annotators=2, raw=0.95, kappa=0.876)
    version = with_version(client, client.all(DatasetVersioned)[0].manifest, 2, left_out=(out,), agreement=agreement)
    newest = run(client, "dataset", "show").out
    assert newest == run(client, "dataset", "show", "2").out == run(client, "dataset", "show", version.dataset_id).out
    assert "solar, dataset 2 (0000000000000002) of 2026-11-24" in newest
    assert ["upper", "2", "1", "1"] in [line.split() for line in newest.splitlines()]
    assert "2 images are left out because people do not agree on it" in newest
    assert "2 people labelled 40 images more than once: 95.0% of their labels agree, kappa 0.88" in newest
    assert "left out" not in run(client, "dataset", "show", "1").out
    shown = run(client, "dataset", "show", "2", "--json").json
    assert (shown["number"], shown["project"], shown["agreement"]["kappa"]) == (2, "solar", 0.876)


def test_a_version_that_is_not_there_is_refused(client: FakeClient, tmp_path: Path) -> None:
    assert "no dataset version 7: it is a number (1) or an id" in refused(run(client, "dataset", "show", "7"))
    empty = defined(tmp_path)
    assert "no dataset version yet: loopline dataset request" in refused(run(empty, "dataset", "show"))


def test_folders_are_those_of_sides_and_classes(client: FakeClient, tmp_path: Path) -> None:
    to = tmp_path / "deep" / "out"
    assert "exported 8 images of solar, dataset 1" in run(client, "dataset", "export", "--to", str(to)).out
    files = [path.relative_to(to).parts[:2] for path in to.rglob("*.png")]
    assert sorted(set(files)) == [
        (split, name) for split in ("test", "train", "validation") for name in ("lower", "upper")
    ]
    assert (len(files), files.count(("train", "upper"))) == (8, 2)
    assert [path.name for path in to.parent.iterdir()] == ["out"]


def test_csv_has_a_line_for_each_picture_and_a_column_for_each_slice(tmp_path: Path) -> None:
    client = defined(tmp_path)
    stored = [client.blobs.put(encode_png(picture(0, number)), "png") for number in range(2)]
    rows: list[dict[str, object]] = [
        {
            "sha256": one.sha256, "uri": one.uri, "label": "upper", "split": "train", "chosen": "random",
            "annotator": "ada", "width": 48, "height": 48, "group": "7",
            "slices": json.dumps({"type": "mono", "line": 3} if place else {"type": "poly"}),
        }
        for place, one in enumerate(stored)
    ]  # fmt: skip
    with_version(client, manifest_of(client.blobs, rows))
    to = tmp_path / "out"
    to.mkdir()
    answer = run(client, "dataset", "export", "1", "--to", str(to), "--format", "csv", "--json").json
    assert (answer["format"], answer["to"]) == ("csv", str(to))
    with (to / "metadata.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["label"], line["group"], line["type"], line["line"]) for line in lines] == [
        ("upper", "7", "poly", ""),
        ("upper", "7", "mono", "3"),
    ]
    assert all(Image.open(to / line["file_name"]).size == (48, 48) for line in lines)


def test_coco_gives_each_picture_one_box_of_its_class(client: FakeClient, tmp_path: Path) -> None:
    to = tmp_path / "out"
    assert run(client, "dataset", "export", "--to", str(to), "--format", "coco").code == 0
    train = json.loads((to / "train.json").read_text())
    assert train["categories"] == [{"id": 1, "name": "upper"}, {"id": 2, "name": "lower"}]
    assert len(train["images"]) == len(train["annotations"]) == 4
    assert {one["category_id"] for one in train["annotations"]} == {1, 2}
    assert train["annotations"][0]["bbox"] == [0, 0, 48, 48]
    assert all((to / one["file_name"]).is_file() for one in train["images"])
    assert len(json.loads((to / "test.json").read_text())["images"]) == 2


def test_an_export_that_cannot_be_complete_writes_nothing(client: FakeClient, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    assert "not an empty folder" in refused(run(client, "dataset", "export", "--to", str(full)))
    assert "is one of folders, csv, coco" in refused(
        run(client, "dataset", "export", "--to", str(tmp_path / "out"), "--format", "yolo")
    )
    assert "cannot write" in refused(run(client, "dataset", "export", "--to", str(full / "mine.txt" / "out")))
    picture_ = next(path for path in (tmp_path / "blobs").rglob("*.png"))
    picture_.unlink()
    gone = refused(run(client, "dataset", "export", "--to", str(tmp_path / "out")))
    assert gone.startswith("1 of 8 pictures are not in the blob store any more: blob://")
    assert [path.name for path in full.iterdir()] == ["mine.txt"]
    assert not (tmp_path / "out").exists()
