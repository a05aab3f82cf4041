"""Making a release in GitHub's two steps: a draft with its whole file, then published at once.

Every step can be repeated after a lost answer: the draft is known by the nonce in its text, the
file by its digest, and publishing is one call whose outcome can be looked up.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tidegate.adapters.host.api import (
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnknownOutcomeError,
)
from tidegate.adapters.registry.release_text import Facts, read, write
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tidegate.adapters.host.api import Api

ASSET = "bundle.tar"
TRIES = 12
PAUSE = 1.0  # seconds; GitHub's listings may be a little behind
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Maker:
    """Makes releases below ``root`` (``/repos/owner/name``)."""

    def __init__(self, api: Api, root: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._api = api
        self._root = root
        self._sleep = sleep

    def draft(self, facts: Facts, file: Path) -> int:
        """Return the release of this registration, with its file, not published yet.

        Raises:
            NotFoundError: somebody else took the draft away.
            OutsideError: GitHub cannot be reached or refuses, or the file never arrives whole.
        """
        release = self._mine(facts) or self._create(facts)
        failure: OutsideError | None = None
        for _ in range(TRIES):
            if _complete(release, facts):
                return int(release["id"])
            for asset in release["assets"]:  # half of a file, from an upload that broke
                with suppress(NotFoundError):
                    self._api.send("DELETE", f"{self._root}/releases/assets/{asset['id']}")
            try:
                self._api.upload(str(release["upload_url"]), file, name=ASSET)
            except (UnknownOutcomeError, InvalidError) as error:
                failure = error  # it may have arrived, or be there already: look
                self._sleep(PAUSE)
            release = self._api.get(f"{self._root}/releases/{release['id']}")
        raise OutsideError(
            f"{ASSET} did not arrive whole at GitHub: {failure or 'its size or digest differs'}",
            remedy="Run again later; https://www.githubstatus.com tells of outages.",
        )

    def _mine(self, facts: Facts) -> Any:
        """Return the draft that this very registration made, however its answer got lost."""
        for item in self._api.pages(f"{self._root}/releases"):
            if item["draft"]:
                found = read(item["body"], str(item["tag_name"]))
                if found and (found.nonce, found.digest) == (facts.nonce, facts.digest):
                    return item
        return None

    def _create(self, facts: Facts) -> Any:
        body = {
            "tag_name": f"{facts.model}-draft-{facts.nonce}",  # no tag is made of a draft
            "name": f"{facts.model} (being registered)",
            "body": write(facts),
            "draft": True,
            "prerelease": True,
        }
        for _ in range(TRIES):
            try:
                return self._api.send("POST", f"{self._root}/releases", body)
            except UnknownOutcomeError:
                self._sleep(PAUSE)
                if found := self._mine(facts):
                    return found
        raise OutsideError(
            "GitHub does not say whether a release was made",
            remedy="Run again later: what is there is found and kept.",
        )

    def publish(self, release: int, name: str, number: int, commit: str | None) -> bool:
        """Publish as this number; False when the number is taken.

        Raises:
            NotFoundError: somebody else took the draft away.
            OutsideError: GitHub cannot be reached, or refuses for another reason.
        """
        change = {
            "tag_name": f"{name}-v{number}",
            "name": f"{name} {number}",
            "draft": False,
            "prerelease": True,
            "make_latest": "false",
        }
        targets: list[dict[str, str]] = [{}]
        if commit and _COMMIT.fullmatch(commit):
            targets.insert(0, {"target_commitish": commit})
        for target in targets:
            try:
                self._api.send("PATCH", f"{self._root}/releases/{release}", {**change, **target})
            except (InvalidError, ForbiddenError) as error:
                # Its answer may be lost and this the second try: look, then judge the refusal.
                found = self._api.get(f"{self._root}/releases/{release}")
                if not found["draft"]:
                    return True
                if _fields(error) & {"tag_name"}:
                    return False
                # A commit that was not pushed, or that changes workflows, cannot be tagged by a
                # job. The text names it; the tag then stands on the default branch.
                if not target:
                    raise
            else:
                return True
        raise AssertionError


def _complete(release: Mapping[str, Any], facts: Facts) -> bool:
    """Whether the release's one asset is our file, whole."""
    return [
        (
            asset["name"],
            asset["state"],
            asset["size"],
            asset.get("digest") or f"sha256:{facts.file}",
        )
        for asset in release["assets"]
    ] == [(ASSET, "uploaded", facts.size, f"sha256:{facts.file}")]


def _fields(error: InvalidError | ForbiddenError) -> set[str]:
    """Return the fields that GitHub refused."""
    details = error.body.get("errors") if isinstance(error.body, dict) else None
    listed = details if isinstance(details, list) else []
    return {str(detail.get("field")) for detail in listed if isinstance(detail, dict)}
