"""Metric sources: where the counts of live traffic come from."""
