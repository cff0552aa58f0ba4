"""`python -m services.deployer`."""

from services.chassis.memory import give_memory_back
from services.deployer.app import build

give_memory_back()
build().run()
