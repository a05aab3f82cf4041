"""Serving targets."""
