"""What every test runs under, and so every process that it starts.

Workers share the machine's cores. OpenMP's threads spin while they wait for each other, so two trainings at
once, each with a thread per core, take ten times as long as with one each. And where Python is told to keep no
bytecode, each of some hundred processes compiles MLflow anew.
"""

from __future__ import annotations

import os
import sys

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
