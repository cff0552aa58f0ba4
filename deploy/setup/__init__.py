"""Makes the project's two environments: `python3 -m deploy.setup`. Standard library only: nothing else is there yet."""
