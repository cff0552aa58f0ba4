"""What labeling-sync is told by its environment."""

from typing import Self

from pydantic import SecretStr, model_validator

from services.chassis.settings import Settings

_SHORTEST_SECRET = 16


class LabelingSyncSettings(Settings):
    """`LOOPLINE_…` variables.

    `label_studio_files_root` is the folder that Label Studio serves under `/data/local-files/` (its
    `LOCAL_FILES_DOCUMENT_ROOT`), a parent of the blob store's folder. `label_studio_hook_url` is where Label Studio
    reaches this service's `/hooks/label-studio`; where it is set, webhooks are kept there, and labels come at once.
    `sweep_period_s` is how often deleted labels are looked for.
    """

    label_studio_url: str = "http://127.0.0.1:8080"
    label_studio_token: SecretStr = SecretStr("")
    label_studio_files_root: str = "var"
    label_studio_timeout_s: float = 60
    label_studio_hook_url: str = ""
    label_studio_hook_secret: SecretStr = SecretStr("")
    poll_period_s: float = 1.0
    sweep_period_s: float = 30.0

    @model_validator(mode="after")
    def _hook_has_a_secret(self) -> Self:
        secret = self.label_studio_hook_secret.get_secret_value()
        if self.label_studio_hook_url and not secret:
            raise ValueError("LOOPLINE_LABEL_STUDIO_HOOK_URL is set: set LOOPLINE_LABEL_STUDIO_HOOK_SECRET, too")
        if secret and (len(secret) < _SHORTEST_SECRET or not secret.isascii()):
            raise ValueError(f"LOOPLINE_LABEL_STUDIO_HOOK_SECRET needs {_SHORTEST_SECRET} ASCII characters at least")
        return self
