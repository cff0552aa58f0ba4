"""Makes the project's two environments: `python3 -m deploy.setup`. Standard library only, it runs before anything is there."""
