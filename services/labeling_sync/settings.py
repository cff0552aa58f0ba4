"""What labeling-sync is told by its environment."""

from pydantic import SecretStr

from services.chassis.settings import Settings


class LabelingSyncSettings(Settings):
    """`LOOPLINE_…` variables.

    `label_studio_files_root` is the folder that Label Studio serves under `/data/local-files/` (its
    `LOCAL_FILES_DOCUMENT_ROOT`), a parent of the blob store's folder. `label_studio_patience_s` is how long a message
    waits for a Label Studio that is away before it counts as tried.
    """

    label_studio_url: str = "http://127.0.0.1:8080"
    label_studio_token: SecretStr = SecretStr("")
    label_studio_files_root: str = "var"
    label_studio_timeout_s: float = 60
    label_studio_patience_s: float = 600
    poll_period_s: float = 1.0
