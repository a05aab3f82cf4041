"""The model registry in a repository's own releases: nothing to run, nothing to pay for.

One release a version: tag ``MODEL-vN``, the bundle as the asset ``bundle.tar``, lineage in its text
(:mod:`.release_text`). Exactly once: a version is prepared as a draft of this registration's own
and published in one call. GitHub gives a tag one release only: who comes second is refused, looks
again, and either finds the digest or takes the next number. Works with immutable releases: after
publishing, only title, text, and the marks "pre-release" and "latest" are edited.
API: https://docs.github.com/en/rest/releases/releases
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tidegate.adapters.host.api import NotFoundError, segment
from tidegate.adapters.registry.release_making import ASSET, PAUSE, TRIES, Maker
from tidegate.adapters.registry.release_text import Facts, Note, read, write
from tidegate.archives import pack, unpack_tar
from tidegate.digests import file_digest, folder_digest
from tidegate.errors import OutsideError
from tidegate.home import MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tidegate.adapters.host.api import Api
    from tidegate.ports import Registration

ASSET_LIMIT = 2**31  # bytes; GitHub takes less than 2 GiB a file
MOST_FILES = 20_000


def site_of(api: str) -> str:
    """Return the host of the web pages and git remotes that belong to a REST API's address.

    >>> site_of("https://api.github.com"), site_of("https://ghe.example.com/api/v3")
    ('github.com', 'ghe.example.com')
    """
    return (urlsplit(api).hostname or "").removeprefix("api.")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Version:
    """A release of ours: published under a number, or still a draft (0)."""

    number: int
    id: int
    title: str
    prerelease: bool
    facts: Facts


class ReleasesRegistry:
    """The releases of ``repository`` (``owner/name``)."""

    def __init__(
        self, api: Api, repository: str, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        owner, _, name = repository.partition("/")
        self._api = api
        self._root = f"/repos/{segment(owner)}/{segment(name)}"
        self._sleep = sleep
        self._maker = Maker(api, self._root, sleep=sleep)

    # --- register ---------------------------------------------------------------------------

    def register(self, registration: Registration) -> str:
        """Return the version of these bytes: the one that is there, or a new one; never two.

        Raises:
            OutsideError: GitHub cannot be reached or refuses, or the bundle is too large for it.
        """
        name, digest = registration.name, registration.digest
        if version := self._find(name, digest):
            return version
        _check_size(registration.bundle)
        with tempfile.TemporaryDirectory(prefix="tidegate-release-") as folder:
            file = Path(folder) / ASSET
            pack(registration.bundle, file)
            return self._publish_new(registration, file)

    def _publish_new(self, registration: Registration, file: Path) -> str:
        name, digest = registration.name, registration.digest
        facts = Facts(
            model=name, digest=digest, file=file_digest(file), size=file.stat().st_size,
            nonce=uuid.uuid4().hex, tags=registration.tags, params=registration.params,
            metrics=registration.metrics,
        )  # fmt: skip
        above = 0
        failure: OutsideError | None = None
        for _ in range(TRIES):
            try:
                draft = self._maker.draft(facts, file)
                # Tags before releases: a twin that publishes in between is found by its digest,
                # and one that publishes later makes our number a taken one.
                used = self._highest_tag(name)
                found = self._ours(name)
                if version := self._known(found, digest):
                    return version
                above = max(above, used, *(v.number for v in found)) + 1
                if self._maker.publish(draft, name, above, facts.tags.get("tidegate.commit")):
                    return self._find(name, digest) or str(above)
            except NotFoundError as error:
                failure = error  # somebody registered the same bytes and took our draft away
                if version := self._find(name, digest):
                    return version
                self._sleep(PAUSE)
        raise OutsideError(
            f"no version of {name} could be published: {failure or 'every number was taken'}",
            remedy=failure.remedy if failure else "Run again: what is there is found and kept.",
        ) from failure

    def _find(self, name: str, digest: str) -> str | None:
        return self._known(self._ours(name), digest)

    def _known(self, ours: Sequence[_Version], digest: str) -> str | None:
        """Return the lowest version with this digest, and take away drafts it makes useless."""
        found = [v for v in ours if v.facts.digest == digest]
        numbers = [v.number for v in found if v.number]
        if not numbers:
            return None
        for draft in (v for v in found if not v.number):
            with suppress(NotFoundError):  # its own registration may have done it
                self._api.send("DELETE", f"{self._root}/releases/{draft.id}")
        return str(min(numbers))

    def _highest_tag(self, name: str) -> int:
        """Return the highest number that a tag has: also tags without a release, or not ours."""
        refs = self._api.get(f"{self._root}/git/matching-refs/tags/{segment(f'{name}-v')}")
        tags = (str(item["ref"]).removeprefix("refs/tags/") for item in refs)
        return max((_number(name, tag) for tag in tags), default=0)

    # --- fetch ------------------------------------------------------------------------------

    def fetch(self, name: str, version: str, into: Path) -> None:
        """Copy the bundle of a version to ``into``, which appears whole or not at all.

        Raises:
            OutsideError: no such version, its file is not the one that was published, or it
                cannot be had.
        """
        release = self._release(name, version)
        facts = _version_of(name, release).facts
        found = [a for a in release["assets"] if a["name"] == ASSET and a["state"] == "uploaded"]
        if len(found) != 1:
            raise OutsideError(f"version {version} of {name} has no {ASSET}")
        into.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{into.name[:80]}.", dir=into.parent) as folder:
            file, fresh = Path(folder) / ASSET, Path(folder) / "bundle"
            asset = f"{self._root}/releases/assets/{found[0]['id']}"
            self._api.download(asset, file, at_most=min(facts.size, ASSET_LIMIT))
            if file_digest(file) != facts.file:
                raise OutsideError(
                    f"{ASSET} of version {version} of {name} is not the file that was published",
                    remedy="Somebody replaced it. Immutable releases (in the repository's "
                    "settings) prevent that.",
                )
            unpack_tar(file, fresh, most_bytes=ASSET_LIMIT, most_files=MOST_FILES)
            if folder_digest(fresh / MODEL) != facts.digest:
                raise OutsideError(f"version {version} of {name} holds another model than it says")
            shutil.rmtree(into, ignore_errors=True)
            fresh.replace(into)

    # --- aliases ----------------------------------------------------------------------------

    def publish(self, name: str, aliases: Mapping[str, str | None], chain: Sequence[str]) -> None:
        """Note the aliases and the ledger's head on the champion's release, and mark it.

        One edit carries the truth; titles and marks follow, and are mended by the next call.

        Raises:
            OutsideError: GitHub cannot be reached or refuses; an alias names no version; or a
                release remembers a head that is not in the chain: then nothing was changed.
        """
        versions = {str(v.number): v for v in self._ours(name) if v.number}
        self._check_heads(name, versions, chain)
        newest = _newest(versions)
        before = dict(newest.aliases or {}) if newest else {}
        wanted = {k: v for k, v in {**before, **aliases}.items() if v is not None}
        if strange := {*wanted.values()} - {*versions}:
            raise OutsideError(f"there is no release of version {min(strange)} of {name}")
        if not versions:
            return  # nothing was ever registered, so there is nothing to remember it on
        carrier = wanted.get("champion") or wanted.get("challenger") or max(versions, key=int)
        note = Note(serial=newest.serial if newest else 0, head=chain[-1], aliases=wanted)
        if newest is None or versions[carrier].facts.note != note:
            note = replace(note, serial=note.serial + 1)
        self._edit(name, versions[carrier], note, wanted)
        for version in versions.values():
            if str(version.number) != carrier:
                old = version.facts.note
                self._edit(name, version, old and replace(old, aliases=None), wanted)

    def _check_heads(
        self, name: str, versions: Mapping[str, _Version], chain: Sequence[str]
    ) -> None:
        known = set(chain)
        for version in versions.values():
            if version.facts.note is not None and version.facts.note.head not in known:
                raise OutsideError(
                    "the registry remembers a ledger head that this ledger does not have",
                    remedy="The ledger branch was rewritten. Restore it, or look at who pushed to "
                    f"it; only then remove `ledger` from the text of release {name}-v"
                    f"{version.number}.",
                )

    def _edit(
        self, name: str, version: _Version, note: Note | None, aliases: Mapping[str, str]
    ) -> None:
        """Make a release's text, title and marks what they should be; no call where they are."""
        number = str(version.number)
        roles = sorted(alias for alias, target in aliases.items() if target == number)
        champion = "champion" in roles
        change: dict[str, Any] = {}
        if note != version.facts.note:
            change["body"] = write(replace(version.facts, note=note))
        title = f"{name} {number}" + (f" ({', '.join(roles)})" if roles else "")
        if title != version.title:
            change["name"] = title
        if champion and version.prerelease:
            change["prerelease"] = False
        if champion:
            change |= self._latest(name, number, published="prerelease" in change)
        if change:
            self._api.send("PATCH", f"{self._root}/releases/{version.id}", change)

    def _latest(self, name: str, champion: str, *, published: bool) -> dict[str, str]:
        """Return the change of the repository's one "latest" release; nobody else's is taken.

        It follows this model's champions where it stands on a release of this model, or nowhere.
        On another model's release, or on one of the repository's own software, it stays.
        """
        try:
            tag = str(self._api.get(f"{self._root}/releases/latest")["tag_name"])
        except NotFoundError:
            return {"make_latest": "true"}
        if tag == f"{name}-v{champion}":
            return {}
        if _number(name, tag):
            return {"make_latest": "true"}
        return {"make_latest": "false"} if published else {}

    def aliases(self, name: str) -> Mapping[str, str]:
        """Return alias -> version; a model that was never registered has none."""
        newest = _newest({str(v.number): v for v in self._ours(name) if v.number})
        return dict(newest.aliases or {}) if newest else {}

    def annotate(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        """Add tags to a version."""
        found = _version_of(name, self._release(name, version))
        facts = replace(found.facts, tags={**found.facts.tags, **tags})
        if facts != found.facts:
            body = {"body": write(facts)}
            self._api.send("PATCH", f"{self._root}/releases/{found.id}", body)

    # --- reading ----------------------------------------------------------------------------

    def _releases(self) -> list[Any]:
        return list(self._api.pages(f"{self._root}/releases"))

    def _ours(self, name: str) -> list[_Version]:
        """Return the model's releases: published ones by number, drafts as number 0."""
        found = []
        for item in self._releases():
            tag = str(item["tag_name"])
            if item["draft"] or _number(name, tag):
                facts = read(item["body"], tag)
                if facts is not None and facts.model == name:
                    found.append(_read(name, item, facts))
        return found

    def _release(self, name: str, version: str) -> Any:
        if not _number(name, f"{name}-v{version}"):
            raise OutsideError(f"{version!r} is no version of {name}")
        try:
            return self._api.get(f"{self._root}/releases/tags/{segment(f'{name}-v{version}')}")
        except NotFoundError as error:
            raise OutsideError(
                f"there is no release of version {version} of {name}",
                remedy=f"It was deleted, or the token may not see it. {error.remedy}",
            ) from None


def _number(name: str, tag: str) -> int:
    """Return the number in a tag of this model; 0 for any other tag."""
    found = re.fullmatch(rf"{re.escape(name)}-v([1-9][0-9]{{0,8}})", tag, re.ASCII)
    return int(found[1]) if found else 0


def _read(name: str, item: Mapping[str, Any], facts: Facts) -> _Version:
    return _Version(
        number=0 if item["draft"] else _number(name, str(item["tag_name"])),
        id=int(item["id"]),
        title=str(item["name"] or ""),
        prerelease=bool(item["prerelease"]),
        facts=facts,
    )


def _version_of(name: str, item: Mapping[str, Any]) -> _Version:
    facts = read(item["body"], str(item["tag_name"]))
    if facts is None or facts.model != name:
        raise OutsideError(f"the release {item['tag_name']} is not one of Tidegate's")
    return _read(name, item, facts)


def _newest(versions: Mapping[str, _Version]) -> Note | None:
    notes = [v.facts.note for v in versions.values() if v.facts.note is not None]
    return max(notes, key=lambda note: (note.serial, note.aliases is not None), default=None)


def _check_size(bundle: Path) -> None:
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    if size >= ASSET_LIMIT - (1 << 24):  # room for the tar's own headers
        raise OutsideError(
            f"the bundle has {size / 2**30:.1f} GiB, and a file of a release less than 2 GiB",
            remedy="Keep this model in an MLflow server: `registry: {uri: ...}` in mlops.yaml, "
            "instead of `store: github-releases`.",
        )
