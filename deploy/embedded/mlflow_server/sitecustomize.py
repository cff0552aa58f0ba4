"""Python runs this first in MLflow's server, whose `PYTHONPATH` has this folder.

MLflow 3.17 imports the tables of its users in the middle of a request. Another request that arrives just then finds
half of them, and the server answers 500 to everything until it is started again. So they are imported before it
listens.
"""

import sys
from contextlib import suppress

if "uvicorn" in sys.orig_argv:
    # Without MLflow's extra `auth` the package ends with this error, behind its tables.
    with suppress(ImportError):
        import mlflow.server.auth.db.models
    import mlflow.store.model_registry.sqlalchemy_store
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
