"""`python -m services.registry`."""

import sys

from services.chassis.signing import BadKey
from services.registry.app import build

if __name__ == "__main__":
    try:
        service = build()
    except BadKey as error:
        sys.exit(str(error))
    service.run()
