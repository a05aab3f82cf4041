"""Sessions with clouds, one per account and process: a token is exchanged once, and renewed in time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidegate.adapters.cloud.aws import Aws
    from tidegate.adapters.cloud.google import Google


@dataclass
class Sessions:
    """What a command is connected to."""

    _aws: dict[str | None, Aws] = field(default_factory=dict)
    _google: dict[str, Google] = field(default_factory=dict)

    def aws(self, region: str | None = None) -> Aws:
        """Return the session with AWS in a region; None: the environment's.

        Raises:
            ConfigError: the role is none.
            OutsideError: boto3 is missing, or no region is known.
        """
        from tidegate.adapters.cloud.aws import connect

        if region not in self._aws:
            self._aws[region] = connect(region)
        return self._aws[region]

    def google(self, project: str = "") -> Google:
        """Return the session with Google Cloud; "": the project of the machine's own credentials.

        Raises:
            ConfigError: the provider is none.
            OutsideError: google-auth is missing, or no job is there to prove.
        """
        from tidegate.adapters.cloud.google import connect

        if project not in self._google:
            self._google[project] = connect(project)
        return self._google[project]

    @property
    def fading(self) -> bool:
        """Whether a session that is used cannot be renewed, and ends soon."""
        aws = any(session.fading for session in self._aws.values())
        return aws or any(session.fading for session in self._google.values())
