"""What every event is: one frozen pydantic model whose `TYPE` is its name on the bus, its schema title and its file."""

import re
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

PROJECT_PATTERN = r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?"
TYPE_PATTERN = re.compile(r"loopline\.([a-z-]+)\.([a-z-]+)\.v([1-9][0-9]{0,4})")

# `examples=` of a type or a field is what contracts/examples shows; a field's own come first.
ProjectName = Annotated[str, StringConstraints(pattern=rf"^{PROJECT_PATTERN}$"), Field(examples=["solar"])]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$"), Field(examples=["0" * 64])]
ClassName = Annotated[str, StringConstraints(pattern=r"^[^\s/\\.][^/\\]{0,63}$"), Field(examples=["defective"])]
BlobUri = Annotated[
    str,
    StringConstraints(pattern=r"^blob://[0-9a-f]{64}(\.[a-z0-9]{1,8})?$"),
    Field(examples=["blob://" + "0" * 64 + ".png"]),
]


class Shape(BaseModel):
    """A part of an event. Frozen; a field this version does not know is ignored, so that `v1` can grow.

    People are told of a field that does not exist: what reads their input passes `extra="forbid"`. Numbers are finite,
    since JSON has no others.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


def rules(*sentences: str) -> JsonDict:
    """What a validator demands beyond the types, as a part of the schema, so that it is published with it.

    An error of the validator has the sentence in it.
    """
    return {"x-rules": list(sentences)}


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
