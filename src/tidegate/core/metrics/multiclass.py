"""Metrics of a probability for each of K classes: predictions of shape (n, K), truth 0 .. K - 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.metrics import confusion, ranks
from tidegate.core.metrics.kinds import Cells, Ranked, Smooth
from tidegate.core.metrics.means import mean_if_any, mean_of_one

if TYPE_CHECKING:
    from tidegate.core.metrics.kinds import Codes, Floats

_EPS = float(np.finfo(np.float64).eps)


def cell(truth: Floats, prediction: Floats, classes: int) -> Codes:
    """Return every row's cell of the confusion matrix: ``K * truth + decision``.

    The decision is the class of the largest probability, the first of equal ones.

    >>> cell(np.array([0.0, 2.0]), np.array([[0.1, 0.6, 0.3], [0.2, 0.2, 0.6]]), 3)
    array([1, 8])
    """
    cells: Codes = classes * truth.astype(np.intp) + np.argmax(prediction, axis=1)
    return cells


def cells_of(classes: int) -> int:
    """Return how many cells the confusion matrix has."""
    return classes * classes


def of_truth(truth: Floats, prediction: Floats) -> Floats:
    """Return the probability that each row gave to its true class, shape (n,)."""
    own: Floats = np.take_along_axis(prediction, truth.astype(np.intp)[:, None], axis=1)[:, 0]
    return own


def surprise(truth: Floats, prediction: Floats) -> Floats:
    """Return each row's negative log-likelihood, shape (n,).

    Probabilities are kept 2.2e-16 away from 0 and 1, as in scikit-learn.
    """
    loss: Floats = -np.log(np.clip(of_truth(truth, prediction), _EPS, 1.0 - _EPS))
    return loss


def squared_distance(truth: Floats, prediction: Floats) -> Floats:
    """Return each row's sum over the classes of (probability - truth)**2, shape (n,)."""
    squares: Floats = np.einsum("ij,ij->i", prediction, prediction)
    return squares - 2.0 * of_truth(truth, prediction) + 1.0


def top(k: int) -> Smooth:
    """Return the share of rows whose true class is among the ``k`` most probable ones.

    Where the true class ties for the last place, it has the chance that a random order would give it.
    Undefined with no more than ``k`` classes, where it would be 1 for any model.
    Source: Russakovsky et al., International Journal of Computer Vision 115 (2015) 211-252 (top-5).
    """

    def hit(truth: Floats, prediction: Floats) -> Floats:
        if k >= prediction.shape[1]:
            return np.full(len(truth), np.nan)
        own = of_truth(truth, prediction)[:, None]
        ahead = np.count_nonzero(prediction > own, axis=1)
        level = np.count_nonzero(prediction == own, axis=1)
        chance: Floats = np.clip((k - ahead) / level, 0.0, 1.0)
        return chance

    return Smooth(features=(hit,), formula=mean_if_any, marks=True, unit=1.0)


LOG_LOSS = Smooth(features=(surprise,), formula=mean_of_one)
"""Mean negative log-likelihood. Source: Good, J. R. Stat. Soc. B 14 (1952) 107-114."""

BRIER = Smooth(features=(squared_distance,), formula=mean_of_one, unit=2.0)
"""Mean squared distance of probabilities and truth, summed over the classes: 0 to 2.

Source: Brier, Monthly Weather Review 78 (1950) 1-3, equation 2.
"""

ACCURACY = Cells(cell=cell, size=cells_of, formula=confusion.right, marks=True)
BALANCED_ACCURACY = Cells(cell=cell, size=cells_of, formula=confusion.balanced)
MACRO_F1 = Cells(cell=cell, size=cells_of, formula=confusion.macro_f1)
WEIGHTED_F1 = Cells(cell=cell, size=cells_of, formula=confusion.weighted_f1)
MCC = Cells(cell=cell, size=cells_of, formula=confusion.matthews)

ROC_AUC_OVR = Ranked(formula=ranks.area, one_vs_rest=True)
"""Mean over the classes of the area under the ROC curve of that class against all others.

Source: Fawcett, Pattern Recognition Letters 27 (2006) 861-874 (there weighted by the classes' shares).
"""
