"""Label Studio over its REST API."""

from services.labeling_sync.adapters.label_studio.http import Http
from services.labeling_sync.adapters.label_studio.labelling import LabelStudio
from services.labeling_sync.adapters.label_studio.pictures import ServedPictures

__all__ = ["Http", "LabelStudio", "ServedPictures"]
