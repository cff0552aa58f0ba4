"""`loopline import`: images into the blob store, and word of them onto the bus."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.datasets import BUILT_IN, Folder, LabelledImage, digits, elpv, folder
from services.cli.errors import BadInput
from services.cli.options import AsJson, Project
from services.cli.progress import ShowProgress, bars
from services.cli.session import Session, session_of

if TYPE_CHECKING:
    from contracts.events.image import ImageAdded
    from contracts.project import ScopeCard
    from services.chassis.client import Client

_AT_ONCE = 32
_LABELLED_BY = "import"


async def add_images(
    client: "Client",
    project: str,
    images: Iterable[LabelledImage],
    show: ShowProgress,
    total: int | None = None,
) -> Counter[str]:
    """Put images into the blob store and say `image.added` for each, in order, with its label where it has one.

    Returns how many there were of each class; those without a label count as "".
    """
    if total is None:
        images = list(images)
        total = len(images)
    counts: Counter[str] = Counter()
    waiting = iter(images)
    with show("imported", total) as advance:
        while batch := await asyncio.to_thread(lambda: list(islice(waiting, _AT_ONCE))):
            for added in await asyncio.gather(*(_stored(client, image) for image in batch)):
                await client.say(added, project=project)
            counts.update(image.label or "" for image in batch)
            advance(len(batch))
    return counts


async def _stored(client: "Client", image: LabelledImage) -> "ImageAdded":
    from contracts.events.base import ImageRef
    from contracts.events.image import ImageAdded
    from services.chassis.images import size

    width, height = size(image.encoded)
    blob = await asyncio.to_thread(client.blobs.put, image.encoded, image.suffix)
    return ImageAdded(
        image=ImageRef(uri=blob.uri, sha256=blob.sha256, width=width, height=height),
        label=image.label,
        labelled_by=_LABELLED_BY if image.label else "",
        metadata=image.metadata,
    )


def import_images(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="DIR|elpv|digits", help="A folder, or a data set that comes along.")],
    project: Project = None,
    limit: Annotated[int | None, typer.Option(min=1, help="No more than so many images.")] = None,
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="Without their labels: people will give them.")
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out what is no image, instead of stopping.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Import images: a folder for each class brings labels along, a flat folder does not; a metadata.csv gives more.

    PNG and JPEG. A project that is not defined yet gets a card: elpv and digits bring theirs, for a folder it is made
    from the names of its folders. Importing the same images again changes nothing.
    """
    session = session_of(context)
    name = project or BUILT_IN.get(source)
    if name is None:
        raise BadInput(f"name the project that {source} is for: --project NAME")

    async def work(client: "Client") -> None:
        found = None if source in BUILT_IN else folder(Path(source))
        if found and unlabelled:
            found = found.without_labels()
        skipped = await asyncio.to_thread(_check, session, found, limit, skip_bad) if found else []
        bad = {path for path, _ in skipped}
        if found:
            found = replace(found, files=tuple(file for file in found.files if file[0] not in bad)[:limit])
            images: Iterable[LabelledImage] = found.images()
            total = len(found.files)
        else:
            images = list(islice(elpv() if source == "elpv" else digits(), limit))
            total = len(images)
        card = await _card(client, session, name, source, found)
        if found:
            _check_labels(card, found)
        elif unlabelled:
            images = (image.without_label() for image in images)
        counts = await add_images(client, name, images, bars(session.notes), total)
        _report(session, name, counts, [reason for _, reason in skipped], as_json)

    session.run(work)


def _check(session: Session, found: Folder, limit: int | None, skip_bad: bool) -> list[tuple[Path, str]]:
    """Decode every file that would be imported, before anything is changed. Returns the bad ones, each with why."""
    from services.chassis.images import BadImage, decode

    if found.left_out:
        session.notes.print(
            f"{len(found.left_out)} files are neither .png nor .jpg and stay out: {found.left_out[0]} …"
        )
    bad: list[tuple[Path, str]] = []
    labels: dict[str, tuple[Path, str | None]] = {}
    wanted = len(found.files) if limit is None else min(limit, len(found.files))
    with bars(session.notes)("checked", wanted) as advance:
        for path, label in found.files:
            if wanted == 0:
                break
            image = LabelledImage(path.read_bytes(), label, str(path))
            twin, other = labels.setdefault(image.sha256, (path, label))
            if other != label:
                raise BadInput(f"{path} and {twin} are the same image in two classes: which one is it?")
            try:
                decode(image.encoded)
            except BadImage as error:
                if not skip_bad:
                    raise BadInput(
                        f"{path}: {error}; nothing was imported (--skip-bad leaves such files out)"
                    ) from None
                session.notes.print(f"left out {path}: {error}")
                bad.append((path, f"{path}: {error}"))
                continue
            wanted -= 1
            advance(1)
    if len(bad) == len(found.files):
        raise BadInput("not one of the files is an image: nothing was imported")
    return bad


async def _card(client: "Client", session: Session, project: str, source: str, found: Folder | None) -> "ScopeCard":
    """The project's card; where it has none yet, one is said."""
    from contracts.events.project import ProjectDefined
    from contracts.project import ScopeCard
    from services.cli.cards import as_yaml, card_for, load_card

    defined = await client.last(ProjectDefined, project)
    if defined:
        return defined[0].card
    if found is None:
        card = ScopeCard.model_validate(load_card(BUILT_IN[source]).model_dump() | {"project": project})
    elif found.classes:
        card = card_for(project, found.classes)
    else:
        raise BadInput(
            f"{project} is not defined and a flat folder names no classes: write a card, loopline project apply FILE"
        )
    await client.say(ProjectDefined(card=card), project=project)
    session.notes.print(f"{project} was not defined yet. Its card now, to be changed with `loopline project apply`:")
    session.notes.print(as_yaml(card).rstrip())
    return card


def _check_labels(card: "ScopeCard", found: Folder) -> None:
    unknown = sorted({label for _, label in found.files if label} - set(card.data.classes))
    if unknown:
        raise BadInput(
            f"{', '.join(unknown)}: no class on the card of {card.project}, which has {', '.join(card.data.classes)}; "
            "nothing was imported (--unlabelled imports without labels)"
        )


def _report(session: Session, project: str, counts: Counter[str], skipped: list[str], as_json: bool) -> None:
    unlabelled = counts.pop("", 0)
    if as_json:
        imported = unlabelled + counts.total()
        session.json(
            {"project": project, "imported": imported, "labels": dict(sorted(counts.items())), "skipped": skipped}
        )
        return
    parts = [f"{count} {label}" for label, count in sorted(counts.items())]
    parts += [f"{unlabelled} without a label"] if unlabelled else []
    session.out.print(f"imported {unlabelled + counts.total()} images into {project}: {', '.join(parts)}")
