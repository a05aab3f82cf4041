"""The rules that people ship today, restated: each says yes or no to two plain numbers.

None of them looks at the number of rows or at an interval. ``good`` and ``old`` are the candidate's
and the champion's metric, turned so that larger is better; ``size`` is the champion's true value
(of its size), by which rules with a fixed limit of their own are scaled to the metric at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Peer: TypeAlias = Callable[[float, float, float], bool]
"""``(good, old, size) -> passes``"""


def greater(good: float, old: float, _size: float) -> bool:
    """Strictly better: ``compare_models`` in Google's vertex-pipelines-end-to-end-samples
    (components/src/components/upload_model.py), as it is written. As shipped it read the
    challenger's own metrics for the champion's (issue 71)."""
    return good > old


def not_smaller(good: float, old: float, _size: float) -> bool:
    """At least as good as every earlier version: ``deploy_flag`` in Azure's mlops-v2
    (data-science/src/evaluate.py); a later step of the sample deployed whatever it said (issue 75)."""
    return good >= old


def tfx(good: float, old: float, size: float) -> bool:
    """The change threshold of TFX's example pipelines, ``absolute={'value': -1e-10}``, with a lower
    bound of 0.6 on an accuracy: here four fifths of the champion's value. TFMA computes intervals
    where asked to; its validator compares the plain numbers."""
    return good >= old - 1e-10 and good >= size - abs(size) / 5


def mlflow(good: float, old: float, size: float) -> bool:
    """``MetricThreshold`` as in its documentation: a threshold, ``min_absolute_change=0.05`` and
    ``min_relative_change=0.05``. A change can only be asked to be an improvement."""
    return good >= size - abs(size) / 5 and good - old >= 0.05 and good - old >= 0.05 * abs(old)


def mlflow_laxest(good: float, old: float, _size: float) -> bool:
    """The laxest comparison ``MetricThreshold`` can say: any improvement at all."""
    return good - old > 0.0


def mlops_stacks(good: float, _old: float, size: float) -> bool:
    """Databricks' mlops-stacks (validation/validation.py): a fixed limit (``mean_squared_error <=
    20``), both changes commented out: here the champion's value worsened by a fifth."""
    return good >= size - abs(size) / 5


def aws(good: float, _old: float, size: float) -> bool:
    """AWS's SageMaker pipeline samples (pipelines/abalone/pipeline.py): ``mse <= 6.0``, no champion:
    here the champion's value worsened by a tenth."""
    return good >= size - abs(size) / 10


def evidently(good: float, old: float, _size: float) -> bool:
    """The default tests of evidently's classification preset: within 20 % of the reference, either way."""
    return abs(good - old) <= 0.2 * abs(old)


PEERS: dict[str, Peer] = {
    "greater than (Google's sample)": greater,
    "not smaller (Azure's sample)": not_smaller,
    "TFX examples (TFMA)": tfx,
    "MLflow, as documented": mlflow,
    "MLflow, laxest change": mlflow_laxest,
    "mlops-stacks, fixed limit": mlops_stacks,
    "AWS samples, fixed limit": aws,
    "evidently preset, 20 %": evidently,
}
