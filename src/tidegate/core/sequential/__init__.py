"""Anytime-valid tests on closed strata: what the canary decides with.

Every test here is an *e-process*: a non-negative quantity that, as long as its null hypothesis
holds, has mean at most one at every look, whatever the looks depend on. By Ville's inequality
(1939) it ever reaches ``1 / alpha`` with probability at most ``alpha``, so it may be looked at
after every minute, on any schedule, without a correction.

All accumulators are immutable (``add`` returns a new one) and work on a *batch*: arrays of shape
``(B,)`` of independent rollouts. A live canary has ``B = 1``; ``tidegate plan`` simulates hundreds
at once with the same code.
"""
