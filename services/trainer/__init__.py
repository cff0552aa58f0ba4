"""Dataset version -> trained TorchScript model and its MLflow run."""
