"""What an hour of a machine costs, about: list prices in US dollars, for telling and never for deciding.

On-demand prices of us-east-1 and us-central1, without taxes, discounts, free tiers and disks. A
machine that is not listed has no price here: unknown is None, never 0. Whoever pays otherwise
writes `price` into `mlops.yaml`.

Sources, as published on :data:`READ_ON`:

* SageMaker, training and real-time inference (the same price for the machines listed):
  https://aws.amazon.com/sagemaker/ai/pricing/
* Vertex AI, custom training and online prediction:
  https://cloud.google.com/vertex-ai/pricing
* N2 and A2 are computed: Vertex AI's prices are those of Compute Engine and 15 per cent, which
  holds to the last digit for N1 and E2. https://cloud.google.com/compute/vm-instance-pricing
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

READ_ON = "2026-11-23"


class Cloud(StrEnum):
    """Who sends the bill."""

    SAGEMAKER = "sagemaker"
    VERTEX = "vertex"


# --- SageMaker --------------------------------------------------------------------------------

_SAGEMAKER: Mapping[str, float] = {
    "ml.m5.large": 0.115, "ml.m5.xlarge": 0.23, "ml.m5.2xlarge": 0.461,
    "ml.m5.4xlarge": 0.922, "ml.m5.12xlarge": 2.765, "ml.m5.24xlarge": 5.53,
    "ml.c5.xlarge": 0.204, "ml.c5.2xlarge": 0.408, "ml.c5.4xlarge": 0.816,
    "ml.c5.9xlarge": 1.836, "ml.c5.18xlarge": 3.672,
    "ml.r5.large": 0.151, "ml.r5.xlarge": 0.302, "ml.r5.2xlarge": 0.605, "ml.r5.4xlarge": 1.21,
    "ml.g4dn.xlarge": 0.7364, "ml.g4dn.2xlarge": 0.94, "ml.g4dn.4xlarge": 1.505,
    "ml.g4dn.8xlarge": 2.72, "ml.g4dn.12xlarge": 4.89, "ml.g4dn.16xlarge": 5.44,
    "ml.g5.xlarge": 1.408, "ml.g5.2xlarge": 1.515, "ml.g5.4xlarge": 2.03,
    "ml.g5.8xlarge": 3.06, "ml.g5.12xlarge": 7.09, "ml.g5.16xlarge": 5.12,
    "ml.g5.24xlarge": 10.18, "ml.g5.48xlarge": 20.36,
    "ml.p3.2xlarge": 3.825, "ml.p3.8xlarge": 14.688, "ml.p3.16xlarge": 28.152,
}  # fmt: skip
_HOSTING_ONLY: Mapping[str, float] = {"ml.t2.medium": 0.056, "ml.c5.large": 0.102}

# --- Vertex AI --------------------------------------------------------------------------------

# Families whose machines cost by their virtual CPUs: name -> US dollars per vCPU and hour.
_TRAINING_FAMILIES: Mapping[str, float] = {
    "n1-standard": 0.21849885 / 4, "e2-standard": 0.154126276 / 4, "n2-standard": 0.1116857 / 2,
}  # fmt: skip
_HOSTING_FAMILIES: Mapping[str, float] = {
    "n1-standard": 0.1095 / 2, "e2-standard": 0.0770564 / 2, "n2-standard": 0.1116857 / 2,
}  # fmt: skip
_SIZES: Mapping[str, frozenset[int]] = {
    "n1-standard": frozenset({2, 4, 8, 16, 32, 64, 96}),
    "e2-standard": frozenset({2, 4, 8, 16, 32}),
    "n2-standard": frozenset({2, 4, 8, 16, 32, 48, 64, 80}),
}
# Machines whose accelerators are part of them, and of the price.
_VERTEX_WHOLE: Mapping[str, float] = {
    "g2-standard-4": 0.81293, "g2-standard-8": 0.98181,
    "a2-highgpu-1g": 4.2243928, "a2-highgpu-2g": 8.4487856, "a2-highgpu-4g": 16.8975712,
    "a2-highgpu-8g": 33.7951424,
}  # fmt: skip
_ACCELERATORS: Mapping[str, float] = {"NVIDIA_TESLA_T4": 0.4025}  # beside N1
_MACHINE = re.compile(r"([a-z0-9]+-[a-z]+)-([0-9]+)")


def training(
    cloud: str, machine: str, *, accelerator: str | None = None, accelerators: int = 0
) -> float | None:
    """Return US dollars an hour of training; None where no price is known.

    >>> training("sagemaker", "ml.m5.large")
    0.115
    >>> training("vertex", "n1-standard-8", accelerator="NVIDIA_TESLA_T4", accelerators=1)
    0.8394977
    >>> training("vertex", "z9-standard-4") is None
    True
    """
    if Cloud(cloud) is Cloud.SAGEMAKER:
        return _SAGEMAKER.get(machine)
    return _vertex(machine, _TRAINING_FAMILIES, accelerator, accelerators)


def hosting(
    cloud: str, machine: str, *, accelerator: str | None = None, accelerators: int = 0
) -> float | None:
    """Return US dollars an hour of one instance behind an endpoint; None where no price is known.

    >>> hosting("sagemaker", "ml.t2.medium"), hosting("vertex", "e2-standard-4")
    (0.056, 0.1541128)
    """
    if Cloud(cloud) is Cloud.SAGEMAKER:
        return _SAGEMAKER.get(machine, _HOSTING_ONLY.get(machine))
    return _vertex(machine, _HOSTING_FAMILIES, accelerator, accelerators)


def _vertex(
    machine: str, families: Mapping[str, float], accelerator: str | None, accelerators: int
) -> float | None:
    whole = _VERTEX_WHOLE.get(machine)
    if whole is not None:
        return whole
    named = _MACHINE.fullmatch(machine)
    if named is None or int(named[2]) not in _SIZES.get(named[1], frozenset()):
        return None
    price = families[named[1]] * int(named[2])
    if accelerator and accelerators:
        if (each := _ACCELERATORS.get(accelerator)) is None:
            return None
        price += each * accelerators
    return round(price, 8)


def cost(seconds: float | None, price: float | None) -> float | None:
    """Return US dollars for so many billed seconds; None where the price or the time is not known.

    >>> cost(1800, 0.23), cost(1800, None), cost(None, 0.23)
    (0.115, None, None)
    """
    return None if seconds is None or price is None else seconds / 3600 * price
