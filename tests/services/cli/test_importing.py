from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.events.image import ImageAdded
from contracts.events.project import ProjectDefined
from services.cli import importing
from services.cli.datasets import LabelledImage
from tests.services.cli.world import FakeClient, defined, png, refused, run


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Four images in two folders of classes, and a file that is none."""
    root = tmp_path / "cells"
    for seed, label in enumerate(("functional", "functional", "defective", "defective")):
        (root / label).mkdir(parents=True, exist_ok=True)
        (root / label / f"{seed}.png").write_bytes(png(seed))
    (root / ".DS_Store").write_text("hidden")
    return root


def test_folder_of_classes_imports_with_labels_and_makes_a_card(tmp_path: Path, cells: Path) -> None:
    client = FakeClient(tmp_path)
    outcome = run(client, "import", str(cells), "--project", "solar", "--json")
    assert outcome.json == {
        "project": "solar", "imported": 4, "labels": {"defective": 2, "functional": 2}, "skipped": []
    }  # fmt: skip
    (card,) = [event.card for event in client.all(ProjectDefined)]
    assert card.data.classes == ("defective", "functional")
    assert "solar was not defined yet" in outcome.err
    added = client.all(ImageAdded)
    assert sorted(event.label or "" for event in added) == ["defective", "defective", "functional", "functional"]
    assert {event.image.sha256 for event in added} == {LabelledImage(png(seed), None, "").sha256 for seed in range(4)}
    assert all(client.blobs.exists(event.image.uri) for event in added)
    assert (added[0].image.width, added[0].chosen, added[0].labelled_by) == (16, "random", "import")


def test_unlabelled_import_leaves_the_labels_to_people(tmp_path: Path, cells: Path) -> None:
    client = defined(tmp_path)
    assert run(client, "import", str(cells), "--project", "solar", "--unlabelled").code == 0
    assert {(event.label, event.labelled_by) for event in client.all(ImageAdded)} == {(None, "")}


def test_flat_folder_imports_without_labels_into_a_defined_project_only(tmp_path: Path, cells: Path) -> None:
    flat = str(cells / "defective")
    line = refused(run(FakeClient(tmp_path), "import", flat, "--project", "solar"))
    assert "loopline project apply FILE" in line
    client = defined(tmp_path)
    assert "2 without a label" in run(client, "import", flat, "--project", "solar").out
    assert len(client.all(ImageAdded)) == 2


def test_limit_takes_a_mix_of_classes_and_the_same_one_every_time(tmp_path: Path, cells: Path) -> None:
    first, second = defined(tmp_path), defined(tmp_path)
    for client in (first, second):
        assert run(client, "import", str(cells), "--project", "solar", "--limit", "3").code == 0
    assert first.all(ImageAdded) == second.all(ImageAdded)
    assert {event.label for event in first.all(ImageAdded)} == {"functional", "defective"}


@pytest.mark.parametrize(
    ("name", "data", "complaint"),
    [
        ("cut.png", png(7, side=64)[:300], "truncated"),
        ("text.jpg", b"no picture", "neither a PNG nor a JPEG"),
        ("empty.png", b"", "empty"),
    ],
)
def test_bad_file_is_named_and_nothing_is_changed(
    tmp_path: Path, cells: Path, name: str, data: bytes, complaint: str
) -> None:
    (cells / "defective" / name).write_bytes(data)
    client = FakeClient(tmp_path)
    line = refused(run(client, "import", str(cells), "--project", "solar"))
    assert name in line
    assert complaint in line
    assert client.said == []
    assert not (tmp_path / "blobs").exists()
    outcome = run(client, "import", str(cells), "--project", "solar", "--skip-bad", "--json")
    assert (outcome.json["imported"], len(outcome.json["skipped"])) == (4, 1)


def test_class_that_is_not_on_the_card_is_refused(tmp_path: Path, cells: Path) -> None:
    (cells / "defective").rename(cells / "brokn")
    client = defined(tmp_path)
    assert "brokn: no class on the card of solar" in refused(run(client, "import", str(cells), "--project", "solar"))
    assert client.all(ImageAdded) == []


def test_image_in_two_classes_is_refused(tmp_path: Path, cells: Path) -> None:
    (cells / "defective" / "twin.png").write_bytes(png(0))
    assert "same image in two classes" in refused(run(defined(tmp_path), "import", str(cells), "--project", "solar"))


def test_folders_that_make_no_sense_are_refused(tmp_path: Path, cells: Path) -> None:
    client = FakeClient(tmp_path)
    assert "no folder" in refused(run(client, "import", str(tmp_path / "none"), "--project", "solar"))
    assert "name the project" in refused(run(client, "import", str(cells)))
    (tmp_path / "empty").mkdir()
    assert "no PNG or JPEG" in refused(run(client, "import", str(tmp_path / "empty"), "--project", "solar"))
    (cells / "loose.png").write_bytes(png(9))
    assert "loose.png lies beside" in refused(run(client, "import", str(cells), "--project", "solar"))


def test_built_in_data_set_brings_its_card_also_under_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def few() -> Iterator[LabelledImage]:
        yield LabelledImage(png(1), "defective", "cell", {"type": "mono"})

    monkeypatch.setattr(importing, "elpv", few)
    client = FakeClient(tmp_path)
    assert run(client, "import", "elpv").code == 0
    assert run(client, "import", "elpv", "--project", "roof").code == 0
    assert [event.card.project for event in client.all(ProjectDefined)] == ["solar", "roof"]
    assert client.all(ImageAdded)[0].metadata == {"type": "mono"}


def test_label_needs_somebody_who_knows_the_truth(tmp_path: Path, cells: Path) -> None:
    client = defined(tmp_path)
    assert "no folder" in refused(run(client, "label", "--truth", str(tmp_path / "none")))
    assert "Missing option" in refused(run(client, "label"))
    assert "knows no true labels" in refused(run(client, "label", "--truth", str(cells / "defective")))


def test_metadata_beside_the_images_travel_with_them(tmp_path: Path, cells: Path) -> None:
    (cells / "metadata.csv").write_text(
        "file_name,module,type,angle\nfunctional/0.png,007,mono,1.5\ndefective/2.png,12,nan,2\n"
    )
    client = FakeClient(tmp_path)
    outcome = run(client, "import", str(cells), "--project", "solar")
    assert "neither .png nor .jpg" not in outcome.err
    found = {event.image.sha256: (event.label, event.metadata) for event in client.all(ImageAdded)}
    names = [LabelledImage(png(seed), None, "").sha256 for seed in range(4)]
    assert found[names[0]] == ("functional", {"module": "007", "type": "mono", "angle": 1.5})
    assert found[names[2]] == ("defective", {"module": 12, "type": "nan", "angle": 2})
    assert found[names[1]] == ("functional", {})


def test_an_exported_version_can_be_imported_again(tmp_path: Path, cells: Path) -> None:
    flat = tmp_path / "export" / "images"
    flat.mkdir(parents=True)
    for seed in range(3):
        (flat / f"{seed}.png").write_bytes(png(seed))
    (flat.parent / "metadata.csv").write_text(
        "file_name,sha256,label,split,chosen,annotator,width,height,group,type\n"
        "images/0.png,00,functional,test,random,ada,16,16,,mono\nimages/1.png,01,defective,train,random,ada,16,16,,\n"
    )
    client = FakeClient(tmp_path)
    answer = run(client, "import", str(flat.parent), "--project", "solar", "--json").json
    assert answer["labels"] == {"defective": 1, "functional": 1}
    assert answer["imported"] == 3
    assert sorted((event.label or "", event.metadata) for event in client.all(ImageAdded)) == [
        ("", {}), ("defective", {}), ("functional", {"type": "mono"}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name\n0.png\n", "has no column file_name"),
        ("file_name\nfunctional/9.png\n", "names functional/9.png, which is not there"),
        ("file_name\n/gone/9.png\n", "names /gone/9.png, which is not there"),
        ("file_name\n\xff\n", "is no CSV"),
    ],
)
def test_metadata_that_do_not_fit_are_refused_before_anything_is_said(
    tmp_path: Path, cells: Path, text: str, complaint: str
) -> None:
    (cells / "metadata.csv").write_text(text, encoding="latin-1")
    client = FakeClient(tmp_path)
    assert complaint in refused(run(client, "import", str(cells), "--project", "solar"))
    assert client.said == []
