"""Verdict -> versions in the MLflow Model Registry, approvals, aliases."""
