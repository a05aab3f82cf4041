"""Which public image a model runs in on Vertex AI, and which Python in it.

Google's prebuilt images come with the Python that they were built with, 3.10 in those whose names say
it, and a pickled model wants the Python that pickled it. So the image is a carrier: what serves is
the Python that the model names, brought along where the image has another one
(:mod:`tidegate.container.vertex_boot`), with the model's own requirements.

Images, their repositories and their end of support:
https://cloud.google.com/vertex-ai/docs/predictions/pre-built-containers
Pythons of prebuilt images: https://cloud.google.com/vertex-ai/docs/supported-frameworks-list
"""

from __future__ import annotations

import platform
import re
from typing import TYPE_CHECKING

from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from pathlib import Path

CARRIER = "vertex-ai/prediction/sklearn-cpu.1-5:latest"  # only `latest` is supported, Google says
OLDEST = (3, 11)  # what the scoring code runs on

# Each image stands in three repositories; the nearest one starts fastest.
_NEAREST = {
    "us": "us", "northamerica": "us", "southamerica": "us",
    "europe": "europe", "me": "europe", "africa": "europe",
    "asia": "asia", "australia": "asia",
}  # fmt: skip

_PYTHON = re.compile(r"^\s*(?:python|python_version):\s*['\"]?(\d+\.\d+)(?:\.\d+)?['\"]?\s*$", re.M)


def image(region: str) -> str:
    """Return the address of the public image, from the repository nearest to a region.

    >>> image("europe-west1")
    'europe-docker.pkg.dev/vertex-ai/prediction/sklearn-cpu.1-5:latest'
    """
    return f"{_NEAREST.get(region.partition('-')[0], 'us')}-docker.pkg.dev/{CARRIER}"


def python_of(model_dir: Path) -> str:
    """Return the Python that a model was made with, as ``3.12``; ours where it names none.

    https://mlflow.org/docs/latest/ml/model/#additional-logged-files

    Raises:
        OutsideError: it is too old for the scoring code.
    """
    found = f"{platform.python_version_tuple()[0]}.{platform.python_version_tuple()[1]}"
    for name in ("python_env.yaml", "MLmodel"):
        try:
            text = (model_dir / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if match := _PYTHON.search(text):
            found = match[1]
            break
    if tuple(map(int, found.split("."))) < OLDEST:
        raise OutsideError(
            f"The model was made with Python {found}; on Vertex AI it needs "
            f"{OLDEST[0]}.{OLDEST[1]} or newer.",
            remedy="Train it with a newer Python.",
        )
    return found
