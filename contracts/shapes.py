"""What events and the scope card are made of: the frozen model, and the types of fields that both have."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

PROJECT_PATTERN = r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?"

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
