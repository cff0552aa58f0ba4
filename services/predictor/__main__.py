"""`python -m services.predictor`."""

from services.chassis.memory import give_memory_back
from services.predictor.app import build

give_memory_back()
build().run()
