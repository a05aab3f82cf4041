"""Code that runs in a cloud's container, beside the model, where Tidegate is not installed.

It travels in the archive that :mod:`tidegate.packing` makes, with the modules that score models on a
runner and behind the local endpoint: what a cloud answers comes from the same lines.
"""
