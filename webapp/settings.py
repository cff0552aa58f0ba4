"""What the operator view is told by its environment."""

from pydantic import Field

from services.chassis.settings import Settings


class WebappSettings(Settings):
    """The chassis' settings (bus, blob store) and how much the page remembers."""

    webapp_history_s: float = Field(
        default=3600, gt=0, description="At start, predictions of this last span are read again"
    )
    webapp_kept: int = Field(default=500, ge=1, description="Predictions kept in memory, a project")
    webapp_tiles: int = Field(default=12, ge=1, le=100, description="Predictions on one screen of the page")
