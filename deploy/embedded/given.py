"""What the environment says about the stack: the only place here that reads it."""

import os
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from deploy.embedded.servers import ROOT

PREFIX = "LOOPLINE_"
# Of MLflow's own client, which reads nothing else: for the two services that talk to it.
MLFLOW_LOGIN = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


class BadSetting(Exception):
    """A setting that cannot be meant; the message says which and what to do."""


def given_settings(environ: Mapping[str, str] = os.environ, root: Path = ROOT) -> dict[str, str]:
    """The `LOOPLINE_…` variables and MLflow's login of the environment, over those of `.env` in the project's folder.

    Empty ones do not count. `var/loopline.env` is not read: the stack writes it.
    """
    merged = {**dotenv_values(root / ".env"), **environ}
    return {
        name: value for name, value in merged.items() if (name.startswith(PREFIX) or name in MLFLOW_LOGIN) and value
    }


def var_folder(given: Mapping[str, str], root: Path = ROOT) -> Path:
    """Where the stack keeps everything it writes: `LOOPLINE_VAR`, or `var` of the project."""
    return (root / given.get("LOOPLINE_VAR", "var")).resolve()
