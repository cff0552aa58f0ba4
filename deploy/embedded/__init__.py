"""The whole stack as processes on one machine, no container: `python -m deploy.embedded up`."""
