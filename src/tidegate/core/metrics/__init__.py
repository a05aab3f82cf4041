"""Metrics: value, direction and influence function, each with its source.

:mod:`table` lists them; :mod:`binary`, :mod:`means` and :mod:`regression` hold the formulas,
:mod:`interval` turns influence values into bounds, :mod:`system` judges measurements that have no
rows (latency, size). Nothing here knows of rules or outcomes: that is :mod:`tidegate.core.gate`.
"""
