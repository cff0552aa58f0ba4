"""`python -m services.deployer`."""

import sys

from services.chassis.memory import give_memory_back
from services.chassis.signing import BadKey
from services.deployer.app import build

give_memory_back()
try:
    service = build()
except BadKey as error:
    sys.exit(str(error))
service.run()
