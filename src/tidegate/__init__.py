"""Tidegate: train, gate, canary and take back machine-learning models from one ``mlops.yaml``."""

__version__ = "0.1.0"
