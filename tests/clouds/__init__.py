"""Whole rollouts on the clouds' stand-ins: the real engine, targets, metric sources and sessions."""
