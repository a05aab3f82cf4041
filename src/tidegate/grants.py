"""What each job calls in a cloud, and the one permission that lets it: a table, no code.

Three jobs take a role. *decide* keeps an accepted model in the registry's bucket; *operate* moves
traffic; *train* starts training jobs. None can do another's part, and nothing here reaches further
than one endpoint, one model and their folders. Beside them stand the roles that the clouds run
things with for us: what serves, what trains, and the dead-man's switch.

The rows: :mod:`tidegate.grants_aws`, :mod:`tidegate.grants_gcp`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

Pairs: TypeAlias = dict[str, dict[str, str]]


class Cloud(StrEnum):
    """Where something runs."""

    AWS = "aws"
    GCP = "gcp"


class Job(StrEnum):
    """The jobs on GitHub that take a role."""

    DECIDE = "decide"
    OPERATE = "operate"
    TRAIN = "train"


class Runs(StrEnum):
    """What a cloud runs for us, with a role or an account of its own."""

    SERVING = "serving"  # the model's containers
    TRAINING = "training"  # the container with the user's training
    SWITCH = "switch"  # the dead-man's switch


Holder: TypeAlias = Job | Runs


class Part(StrEnum):
    """The key of ``mlops.yaml`` that asks for a cloud."""

    REGISTRY = "registry.store"
    TARGET = "release.target"
    COMPUTE = "train.compute"


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """One call and the permission for it.

    Attributes:
        call: ``service.Operation`` of boto3, or the id of Google's method; of a role that a cloud
            runs something with, what that does.
        resources: templates. On Google Cloud a grant without them is part of the project's custom
            role, one with them binds ``role`` on that resource alone.
        needs: values without which it is left out: not every account has them.
    """

    cloud: Cloud
    holder: Holder
    part: Part
    call: str
    action: str
    url: str
    sid: str = ""
    role: str = ""
    resources: tuple[str, ...] = ()
    condition: Pairs = field(default_factory=dict)
    needs: tuple[str, ...] = ()
