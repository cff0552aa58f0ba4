"""What an MLflow run of a training shows besides its numbers, as files."""
