"""`python -m services.registry`."""

from services.registry.app import build

if __name__ == "__main__":
    build().run()
