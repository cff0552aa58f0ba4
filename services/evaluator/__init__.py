"""Candidate against champion on one test set -> a verdict with its reasons."""
