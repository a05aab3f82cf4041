"""Metrics: value, direction and influence function, each with its source."""
