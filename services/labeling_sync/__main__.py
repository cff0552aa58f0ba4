"""`python -m services.labeling_sync`."""

from services.labeling_sync.app import build

if __name__ == "__main__":
    build().run()
