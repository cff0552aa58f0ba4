"""Label Studio's own settings, with another use of SQLite (docs/decisions/0014); loaded by Label Studio's Python."""
# ruff: noqa: F403
# mypy: ignore-errors

# The base first: what is read of Django's settings while the second one is imported must be there.
from core.settings.base import *
from core.settings.label_studio import *
from core.settings.label_studio import DATABASES

# https://docs.djangoproject.com/en/5.2/ref/databases/#sqlite-notes
DATABASES["default"]["OPTIONS"] = {
    # Who only reads at first and then writes cannot wait for another writer: it fails with "database is locked".
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",  # readers and a writer do not wait
}
