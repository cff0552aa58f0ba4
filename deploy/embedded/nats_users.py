"""The users of `contracts.permissions` as nats-server is told them: hashes of passwords, and subjects."""

from collections.abc import Mapping

import bcrypt

from contracts.permissions import permissions, user

# The passwords are 192 random bits, which no one guesses, hashed cheaply or not; a dear hash would only hold up
# everyone who connects at once after a restart.
_ROUNDS = 4


def authorization(passwords: Mapping[str, str]) -> dict[str, object]:
    """The block `authorization` of the server's configuration. Whoever is not in it is not let in.

    Args:
        passwords: by user; KeyError for one that the contracts do not know.
    """
    return {"users": [_entry(name, password) for name, password in passwords.items()]}


def _entry(name: str, password: str) -> dict[str, object]:
    allowed = permissions(user(name))
    return {
        "user": name,
        "password": bcrypt.hashpw(password.encode(), bcrypt.gensalt(_ROUNDS)).decode(),
        "permissions": {
            "publish": {"allow": allowed.publish, "deny": allowed.publish_denied},
            "subscribe": {"allow": allowed.subscribe},
        },
    }
