"""What is kept: refs, trees, files, releases and their assets."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from tests.github.hub import BOT, Row, find, now
from tests.github.routing import REPO, Answer, RefusedError, Request, invalid, page, route

if TYPE_CHECKING:
    from tests.github.hub import Hub

INLINE = 1_048_576  # bytes that the contents API still answers with


# --- refs -------------------------------------------------------------------------------------------


def refs(hub: Hub) -> dict[str, str]:
    if hub.bare is None:
        return hub.state.refs
    lines = hub.git("for-each-ref", "--format=%(refname) %(objectname)").decode().splitlines()
    return dict(line.split(" ") for line in lines)


def set_ref(hub: Hub, name: str, sha: str | None) -> None:
    if hub.bare is not None:
        hub.git("update-ref", *(["-d", name] if sha is None else [name, sha]))
    elif sha is None:
        del hub.state.refs[name]
    else:
        hub.state.refs[name] = sha


def ref_shape(hub: Hub, name: str, sha: str) -> Any:
    url = f"{hub.api}/git/{name}"
    row = {"ref": name, "url": url, "object": {"type": "commit", "sha": sha, "url": url}}
    return hub.shape("git-ref", row)


@route("GET", f"{REPO}/git/ref/{{ref}}", "contents=read")
def get_ref(hub: Hub, request: Request) -> Answer:
    name = f"refs/{request.params['ref']}"
    if (sha := refs(hub).get(name)) is None:
        raise RefusedError(404, "Not Found")
    return Answer(body=ref_shape(hub, name, sha))


@route("GET", f"{REPO}/git/matching-refs/{{ref}}", "contents=read")
def matching_refs(hub: Hub, request: Request) -> Answer:
    prefix = f"refs/{request.params['ref']}"
    found = sorted((name, sha) for name, sha in refs(hub).items() if name.startswith(prefix))
    return Answer(body=[ref_shape(hub, name, sha) for name, sha in found])


@route("POST", f"{REPO}/git/refs", "contents=write")
def create_ref(hub: Hub, request: Request) -> Answer:
    name, sha = request.body["ref"], request.body["sha"]
    if name in refs(hub):
        raise RefusedError(422, "Reference already exists")
    try:
        set_ref(hub, name, sha)
    except RefusedError:
        raise RefusedError(422, "Object does not exist") from None
    return Answer(status=201, body=ref_shape(hub, name, sha))


@route("PATCH", f"{REPO}/git/refs/{{ref}}", "contents=write")
def move_ref(hub: Hub, request: Request) -> Answer:
    name = f"refs/{request.params['ref']}"
    if name not in refs(hub):
        raise RefusedError(422, "Reference does not exist")
    set_ref(hub, name, request.body["sha"])
    return Answer(body=ref_shape(hub, name, request.body["sha"]))


@route("DELETE", f"{REPO}/git/refs/{{ref}}", "contents=write")
def delete_ref(hub: Hub, request: Request) -> Answer:
    name = f"refs/{request.params['ref']}"
    if name not in refs(hub):
        raise RefusedError(422, "Reference does not exist")
    set_ref(hub, name, None)
    return Answer(status=204)


# --- files ------------------------------------------------------------------------------------------


def commit_of(hub: Hub, name: str) -> str:
    return (
        hub.git("rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}").decode().strip()
    )


@route("GET", f"{REPO}/git/trees/{{tree_sha}}", "contents=read")
def get_tree(hub: Hub, request: Request) -> Answer:
    commit = commit_of(hub, request.params["tree_sha"])
    deep = ["-r", "-t"] if "recursive" in request.query else []
    entries = []
    for line in hub.git("ls-tree", "-z", "-l", *deep, commit).decode().split("\0"):
        if line:
            meta, _, path = line.partition("\t")
            mode, kind, sha, size = meta.split()
            entry: Row = {"path": path, "mode": mode, "type": kind, "sha": sha}
            entries.append(entry | ({"size": int(size)} if kind == "blob" else {}))
    truncated = bool(hub.state.settings.get("truncate_trees"))
    row = {"sha": commit, "tree": entries, "truncated": truncated}
    return Answer(body=hub.shape("git-tree", row))


@route("GET", f"{REPO}/git/blobs/{{file_sha}}", "contents=read")
def get_blob(hub: Hub, request: Request) -> Answer:
    sha = request.params["file_sha"]
    data = hub.git("cat-file", "blob", sha)
    content = base64.encodebytes(data).decode()
    row = {"sha": sha, "size": len(data), "encoding": "base64", "content": content}
    return Answer(body=hub.shape("blob", row))


@route("GET", f"{REPO}/contents/{{path}}", "contents=read")
def get_contents(hub: Hub, request: Request) -> Answer:
    path = request.params["path"]
    commit = commit_of(hub, request.query.get("ref", hub.default_branch))
    sha = hub.git("rev-parse", "--verify", "--end-of-options", f"{commit}:{path}").decode().strip()
    if hub.git("cat-file", "-t", sha).decode().strip() == "tree":
        return Answer(body=[])  # a folder; nobody here reads its entries
    data = hub.git("cat-file", "blob", sha)
    inline = len(data) <= INLINE
    row = {
        "type": "file",
        "encoding": "base64" if inline else "none",
        "size": len(data),
        "name": path.rpartition("/")[2],
        "path": path,
        "content": base64.encodebytes(data).decode() if inline else "",
        "sha": sha,
        "url": request.url,
        "git_url": f"{hub.api}/git/blobs/{sha}",
        "html_url": f"{hub.web}/blob/{commit}/{path}",
        "download_url": f"{hub.web}/raw/{commit}/{path}",
    }
    return Answer(body=hub.shape("content-file", row))


# --- releases -----------------------------------------------------------------------------------------


def release_shape(hub: Hub, row: Row) -> Any:
    assets = [a for a in hub.state.assets if a["_release"] == row["id"]]
    full = {**row, "assets": [hub.shape("release-asset", asset) for asset in assets]}
    return hub.shape("release", full)


def published(hub: Hub) -> list[Row]:
    return [row for row in hub.state.releases if not row["draft"]]


def publish(hub: Hub, row: Row) -> None:
    """Make a release public, with its tag."""
    if any(
        other["id"] != row["id"] and other["tag_name"] == row["tag_name"]
        for other in published(hub)
    ):
        raise invalid("Release", "tag_name", "already_exists")
    name = f"refs/tags/{row['tag_name']}"
    known = refs(hub)
    if name not in known:
        target = row["target_commitish"]
        sha = str(known.get(f"refs/heads/{target}", target))
        if len(sha) == 40:
            set_ref(hub, name, sha)
        elif hub.bare is not None:
            raise invalid("Release", "target_commitish", "invalid")
    row.update(draft=False, published_at=now())
    row["immutable"] = bool(hub.state.settings.get("immutable_releases"))


def mark_latest(hub: Hub, row: Row, wanted: str | None, *, fresh: bool) -> None:
    """Give the repository's one "latest" mark to a release, as ``make_latest`` asks.

    Newly published releases take it unless told not to; drafts and pre-releases cannot have it.
    """
    takes = wanted == "true" or (wanted is None and fresh)
    if row["draft"] or row["prerelease"] or not takes:
        row["_latest"] = bool(row.get("_latest")) and not fresh and not row["prerelease"]
        return
    for other in hub.state.releases:
        other["_latest"] = False
    row["_latest"] = True


@route("GET", f"{REPO}/releases", "contents=read")
def list_releases(hub: Hub, request: Request) -> Answer:
    return page(request, [release_shape(hub, row) for row in reversed(hub.state.releases)])


@route("GET", f"{REPO}/releases/latest", "contents=read")
def latest_release(hub: Hub, request: Request) -> Answer:
    rows = [row for row in published(hub) if not row["prerelease"]]
    if not rows:
        raise RefusedError(404, "Not Found")
    marked = [row for row in rows if row.get("_latest")]
    return Answer(body=release_shape(hub, (marked or rows)[-1]))


@route("GET", f"{REPO}/releases/tags/{{tag}}", "contents=read")
def release_of_tag(hub: Hub, request: Request) -> Answer:
    row = find(published(hub), tag_name=request.params["tag"])
    return Answer(body=release_shape(hub, row))


@route("GET", f"{REPO}/releases/{{release_id}}", "contents=read")
def get_release(hub: Hub, request: Request) -> Answer:
    row = find(hub.state.releases, id=request.number("release_id"))
    return Answer(body=release_shape(hub, row))


@route("POST", f"{REPO}/releases", "contents=write")
def create_release(hub: Hub, request: Request) -> Answer:
    body = request.body
    identity = hub.fresh_id()
    row: Row = {
        "id": identity,
        "tag_name": body["tag_name"],
        "target_commitish": body.get("target_commitish", hub.default_branch),
        "name": body.get("name"),
        "body": body.get("body"),
        "draft": True,
        "prerelease": body.get("prerelease", False),
        "created_at": now(),
        "published_at": None,
        "author": dict(BOT),
        "url": f"{hub.api}/releases/{identity}",
        "html_url": f"{hub.web}/releases/tag/{body['tag_name']}",
        "assets_url": f"{hub.api}/releases/{identity}/assets",
        "upload_url": f"{hub.url}/uploads/repos/{hub.repository}/releases/{identity}/assets"
        "{?name,label}",
    }
    if not body.get("draft", False):
        publish(hub, row)
    hub.state.releases.append(row)
    mark_latest(hub, row, body.get("make_latest"), fresh=not row["draft"])
    return Answer(status=201, body=release_shape(hub, row))


@route("PATCH", f"{REPO}/releases/{{release_id}}", "contents=write")
def edit_release(hub: Hub, request: Request) -> Answer:
    row = find(hub.state.releases, id=request.number("release_id"))
    if row.get("immutable") and request.body.get("tag_name", row["tag_name"]) != row["tag_name"]:
        raise invalid("Release", "tag_name", "custom", "the tag of an immutable release stays")
    keys = ("tag_name", "target_commitish", "name", "body", "prerelease")
    changed = {**row, **{key: request.body[key] for key in keys if key in request.body}}
    if fresh := request.body.get("draft") is False and row["draft"]:
        publish(hub, changed)  # refused: the release stays as it was
    row.update(changed)
    mark_latest(hub, row, request.body.get("make_latest"), fresh=fresh)
    return Answer(body=release_shape(hub, row))


@route("DELETE", f"{REPO}/releases/{{release_id}}", "contents=write")
def delete_release(hub: Hub, request: Request) -> Answer:
    row = find(hub.state.releases, id=request.number("release_id"))
    hub.state.releases.remove(row)
    hub.state.assets = [a for a in hub.state.assets if a["_release"] != row["id"]]
    return Answer(status=204)


@route("GET", f"{REPO}/releases/{{release_id}}/assets", "contents=read")
def list_assets(hub: Hub, request: Request) -> Answer:
    identity = find(hub.state.releases, id=request.number("release_id"))["id"]
    rows = [row for row in hub.state.assets if row["_release"] == identity]
    return page(request, [hub.shape("release-asset", row) for row in rows])


def open_release(hub: Hub, identity: int) -> Row:
    row = find(hub.state.releases, id=identity)
    if row.get("immutable"):
        raise RefusedError(422, "Cannot change the assets of an immutable release.")
    return row


@route("POST", f"{REPO}/releases/{{release_id}}/assets", "contents=write")
def upload_asset(hub: Hub, request: Request) -> Answer:
    release = open_release(hub, request.number("release_id"))
    name = request.query["name"]
    if not request.data:
        raise invalid("ReleaseAsset", "size", "custom", "size must be greater than or equal to 1")
    if any(a["_release"] == release["id"] and a["name"] == name for a in hub.state.assets):
        raise invalid("ReleaseAsset", "name", "already_exists")
    identity = hub.fresh_id()
    digest = hashlib.sha256(request.data).hexdigest()
    hub.blobs[digest] = request.data
    row = {
        "id": identity,
        "name": name,
        "label": request.query.get("label"),
        "content_type": request.headers.get("content-type", ""),
        "size": len(request.data),
        "digest": f"sha256:{digest}",
        "state": "uploaded",
        "uploader": dict(BOT),
        "created_at": now(),
        "updated_at": now(),
        "url": f"{hub.api}/releases/assets/{identity}",
        "browser_download_url": f"{hub.web}/releases/download/{release['tag_name']}/{name}",
        "_release": release["id"],
    }
    hub.state.assets.append(row)
    return Answer(status=201, body=hub.shape("release-asset", row))


@route("GET", f"{REPO}/releases/assets/{{asset_id}}", "contents=read")
def get_asset(hub: Hub, request: Request) -> Answer:
    row = find(hub.state.assets, id=request.number("asset_id"))
    if request.headers.get("accept") != "application/octet-stream":
        return Answer(body=hub.shape("release-asset", row))
    digest = row["digest"].removeprefix("sha256:")
    return Answer(status=302, headers={"Location": f"{hub.storage_url}/{digest}?sig=s3cret"})


@route("DELETE", f"{REPO}/releases/assets/{{asset_id}}", "contents=write")
def delete_asset(hub: Hub, request: Request) -> Answer:
    row = find(hub.state.assets, id=request.number("asset_id"))
    open_release(hub, row["_release"])
    hub.state.assets.remove(row)
    return Answer(status=204)
