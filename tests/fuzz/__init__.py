"""Fuzzing of everything that reads outside bytes: one table of targets, one runner, every input reproducible."""
