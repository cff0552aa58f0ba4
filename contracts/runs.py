"""The names by which an MLflow run of the loop is read again: its tags and artifacts.

Trainer, registry and whoever hands a model over write them; they are as much a promise as an event's fields.
"""

PROJECT = "loopline.project"
DATASET = "loopline.dataset"
DATASET_NUMBER = "loopline.dataset_number"
MODEL_SHA256 = "loopline.model_sha256"
GOLDEN_SHA256 = "loopline.golden_sha256"
MAX_SIDE = "loopline.max_side"
# MLflow's own name for the git commit of the code.
REVISION = "mlflow.source.git.commit"

MODEL_FILE = "model.pt"
GOLDEN_FILE = "golden.npz"
