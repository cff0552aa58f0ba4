"""Passwords and tokens of the embedded servers: made once, kept in `var/secrets.env` for their owner only."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values

from contracts.permissions import USERS
from deploy.embedded.given import BadSetting
from deploy.embedded.servers import write_private

LABEL_STUDIO_USER = "operator@loopline.local"


@dataclass(frozen=True)
class Passwords:
    """Of every user of NATS by name, and of the user `operator@loopline.local` of Label Studio."""

    nats: Mapping[str, str] = field(repr=False)
    label_studio: str = field(repr=False)
    label_studio_token: str = field(repr=False)
    label_studio_hook: str = field(repr=False)


def secrets_file(var: Path) -> Path:
    """Where they are kept."""
    return var / "secrets.env"


def passwords(var: Path) -> Passwords:
    """Those of `var`; what there is none of is made now.

    Raises:
        BadSetting: the file is gone or torn, but Label Studio's user was made with what was in it.
    """
    path = secrets_file(var)
    kept = {name: value for name, value in dotenv_values(path, interpolate=False).items() if value}
    theirs = ("LABEL_STUDIO_PASSWORD", "LABEL_STUDIO_TOKEN")
    if any(name not in kept for name in theirs) and (var / "label-studio" / "label_studio.sqlite3").exists():
        raise BadSetting(
            f"{path} is gone, and Label Studio's user was made with it: restore it, or start afresh: ./taskw clean"
        )
    made = {
        # NATS is told all of them at each start, so a new one may be made at any time.
        **{_nats(user.name): secrets.token_urlsafe(24) for user in USERS},
        "LABEL_STUDIO_USER": LABEL_STUDIO_USER,
        "LABEL_STUDIO_PASSWORD": secrets.token_urlsafe(12),
        "LABEL_STUDIO_TOKEN": secrets.token_hex(20),
        "LABEL_STUDIO_HOOK_SECRET": secrets.token_urlsafe(24),
    }
    # Only what is known by now: the password of a user that there is no more goes away.
    wanted = {name: kept.get(name, value) for name, value in made.items()}
    if wanted != kept:
        var.mkdir(parents=True, exist_ok=True)
        write_private(path, "".join(f"{name}={value}\n" for name, value in wanted.items()))
    of_nats = {user.name: wanted[_nats(user.name)] for user in USERS}
    return Passwords(of_nats, *(wanted[name] for name in (*theirs, "LABEL_STUDIO_HOOK_SECRET")))


def _nats(user: str) -> str:
    return f"NATS_PASSWORD_{user.upper().replace('-', '_')}"
