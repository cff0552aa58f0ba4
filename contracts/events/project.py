"""What a project is."""

from typing import ClassVar

from pydantic import Field

from contracts.events.base import Event
from contracts.project import ScopeCard


class ProjectDefined(Event):
    """A project was defined, or defined anew: the last card said is the card."""

    TYPE: ClassVar[str] = "loopline.project.defined.v1"

    card: ScopeCard = Field(description="The scope card")
