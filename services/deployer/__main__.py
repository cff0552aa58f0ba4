"""`python -m services.deployer`."""

from services.deployer.app import build

build().run()
