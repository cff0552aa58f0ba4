"""Where Label Studio shows a picture of the blob store from."""

import os
from pathlib import Path
from urllib.parse import quote

from services.chassis.blobs import Blobs


class ServedPictures:
    """The folder of the blob store, which lies below the one folder whose files Label Studio may serve.

    Raises:
        ValueError: it does not lie there, or is no folder; the text says what to set.
    """

    def __init__(self, blobs: Blobs, blobs_root: str, files_root: str) -> None:
        self._blobs = blobs
        self._files_root = Path(os.path.abspath(files_root))
        self.folder = Path(os.path.abspath(blobs_root))
        if "://" in blobs_root or self._files_root not in self.folder.parents:
            raise ValueError(
                f"Label Studio shows pictures only from below LOOPLINE_LABEL_STUDIO_FILES_ROOT ({self._files_root}): "
                f"let LOOPLINE_BLOBS_ROOT ({blobs_root}) be a folder in it"
            )

    def check(self) -> None:
        """Raises Away where the folder is not there: Label Studio would not take it."""
        self._blobs.check()

    def url(self, uri: str) -> str:
        """The address of a blob, on Label Studio itself."""
        path = self._blobs.local_path(uri)
        if path is None:
            raise ValueError(f"{uri} lies in no folder")
        return f"/data/local-files/?d={quote(os.path.relpath(path.absolute(), self._files_root))}"
