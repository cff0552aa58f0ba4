"""Bring a model that you trained yourself to the loop: `loopline.dataset(project)`, then `loopline.hand_over(…)`.

Importing it imports no torch and no MLflow. See `examples/README.md`.
"""

from loopline.datasets import Dataset, Part, dataset
from loopline.handing_over import HandedOver, hand_over
from loopline.reaching import Refused, mlflow_url
from loopline.trying import golden

__all__ = ["Dataset", "HandedOver", "Part", "Refused", "dataset", "golden", "hand_over", "mlflow_url"]
