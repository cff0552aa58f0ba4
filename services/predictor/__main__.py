"""`python -m services.predictor`."""

from services.predictor.app import build

build().run()
