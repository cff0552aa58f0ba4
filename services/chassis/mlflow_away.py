"""What an error of MLflow's client says about its server: away as a whole, or only not willing to do this."""

from collections.abc import Callable

import requests
from requests.exceptions import RetryError

from services.chassis.errors import because_of


def why_away(error: Exception, ask_something_else: Callable[[], object]) -> str:
    """Why it is of no use to ask MLflow anything now, to be put behind its name; "" where only this request failed.

    A 500 may be the server's own way to fail at one request, which no waiting mends. So something else is asked then,
    that does no harm: away is who fails at that, too.
    """
    if because_of(error, requests.ConnectionError, requests.Timeout):
        return "does not answer: is it running?"
    if getattr(error, "error_code", "") == "UNAUTHENTICATED":
        return "lets nobody in: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
    # So 408, 429 and 5xx end, also with no retries.
    if not because_of(error, RetryError):
        return ""
    if "too many 500 error" in str(error):
        try:
            ask_something_else()
        except Exception:
            return "answers 500 to everything: look into its log"
        return ""
    return "answers only that it cannot now: it is overloaded or starting"
