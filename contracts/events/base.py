"""What every event is: one frozen pydantic model whose `TYPE` is its name on the bus, its schema title and its file."""

import re
from typing import ClassVar

from pydantic import Field

from contracts.shapes import PROJECT_PATTERN, BlobUri, ClassName, ProjectName, Sha256, Shape, rules

__all__ = [
    "EVENTS",
    "PROJECT_PATTERN",
    "TYPE_PATTERN",
    "BlobRef",
    "BlobUri",
    "ClassName",
    "Event",
    "ImageRef",
    "ProjectName",
    "Sha256",
    "Shape",
    "rules",
]

TYPE_PATTERN = re.compile(r"loopline\.([a-z-]+)\.([a-z-]+)\.v([1-9][0-9]{0,4})")


class Event(Shape):
    """A fact, or a request (`….requested`). Subclasses set `TYPE`, such as `loopline.training.completed.v1`."""

    TYPE: ClassVar[str] = ""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: object) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if not TYPE_PATTERN.fullmatch(cls.TYPE):
            raise TypeError(f"{cls.__name__}.TYPE {cls.TYPE!r} is not loopline.<entity>.<verb>.v<N>")
        if cls.TYPE in EVENTS:
            raise TypeError(f"{cls.TYPE} is defined twice")
        EVENTS[cls.TYPE] = cls

    @classmethod
    def name(cls) -> str:
        """`entity.verb`, as people say it: `training.completed`."""
        return cls.TYPE.removeprefix("loopline.").rsplit(".", 1)[0]

    @classmethod
    def subject(cls, project: str) -> str:
        """The NATS subject; `*` as project gives the filter over all projects."""
        return f"loopline.{project}.{cls.name()}"

    @property
    def natural_key(self) -> str:
        """What makes two events of this type with one cause different; empty when a cause has one of them."""
        return ""


EVENTS: dict[str, type[Event]] = {}


class ImageRef(Shape):
    """An image in the blob store. Its sha256 is its identity everywhere: tasks, splits, kept features and answers."""

    uri: BlobUri = Field(description="Where the encoded bytes lie", examples=["blob://" + "0" * 64 + ".png"])
    sha256: Sha256 = Field(description="SHA-256 of the encoded bytes", examples=["0" * 64])
    width: int = Field(description="Pixels", ge=1, le=65_535, examples=[300])
    height: int = Field(description="Pixels", ge=1, le=65_535, examples=[300])


class BlobRef(Shape):
    """Any other blob: a model, a manifest, a heat map."""

    uri: BlobUri = Field(description="Where the bytes lie", examples=["blob://" + "0" * 64 + ".pt"])
    sha256: Sha256 = Field(description="SHA-256 of the bytes", examples=["0" * 64])
    size_bytes: int = Field(description="Length in bytes", ge=0, examples=[13_631_488])
