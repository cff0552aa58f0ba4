"""Passwords and tokens of the embedded servers: made once, kept in `var/secrets.env` for their owner only."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values

from deploy.embedded.given import BadSetting
from deploy.embedded.servers import write_private

LABEL_STUDIO_USER = "operator@loopline.local"
NATS_USER = "loopline"


@dataclass(frozen=True)
class Passwords:
    """Of the users `operator@loopline.local` of Label Studio and `loopline` of NATS."""

    nats: str = field(repr=False)
    label_studio: str = field(repr=False)
    label_studio_token: str = field(repr=False)


def secrets_file(var: Path) -> Path:
    """Where they are kept."""
    return var / "secrets.env"


def passwords(var: Path) -> Passwords:
    """Those of `var`, made now if there are none.

    Raises:
        BadSetting: the file is gone or torn, but Label Studio's user was made with what was in it.
    """
    path = secrets_file(var)
    kept = dotenv_values(path)
    try:
        return Passwords(
            *(kept[name] or "" for name in ("NATS_PASSWORD", "LABEL_STUDIO_PASSWORD", "LABEL_STUDIO_TOKEN"))
        )
    except KeyError:
        if (var / "label-studio" / "label_studio.sqlite3").exists():
            raise BadSetting(
                f"{path} is gone, and Label Studio's user was made with it: restore it, or start afresh: ./taskw clean"
            ) from None
    made = Passwords(secrets.token_urlsafe(24), secrets.token_urlsafe(12), secrets.token_hex(20))
    var.mkdir(parents=True, exist_ok=True)
    write_private(
        path,
        f"NATS_USER={NATS_USER}\nNATS_PASSWORD={made.nats}\n"
        f"LABEL_STUDIO_USER={LABEL_STUDIO_USER}\nLABEL_STUDIO_PASSWORD={made.label_studio}\n"
        f"LABEL_STUDIO_TOKEN={made.label_studio_token}\n",
    )
    return made
