"""Cloud Scheduler's clock: jobs that are due are really sent, to this server."""

from __future__ import annotations

import base64
import http.client
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.gcp import behaviour
from tests.gcp.clock import stamp
from tests.gcp.cron import schedule
from tests.gcp.routing import CODE, STATUS

if TYPE_CHECKING:
    from tests.gcp.cloud import Cloud
    from tests.gcp.routing import Row


def settle_schedules(cloud: Cloud) -> None:
    """Begin an attempt of every job that is due."""
    now = cloud.clock.time()
    for row in list(cloud.state.schedules.values()):
        due = row["_next"] <= now
        if due and row["state"] == "PAUSED":
            behaviour.apply("paused")
            _plan(row, now)
        elif (due or row.get("_forced")) and not row.get("_running"):
            row |= {"_running": True, "_forced": False, "lastAttemptTime": stamp(now)}
            threading.Thread(target=_attempt, args=(cloud, row, now), daemon=True).start()


def _attempt(cloud: Cloud, row: Row, now: float) -> None:
    behaviour.apply("fires")
    try:
        status, said = _sent(cloud, row)
    except OSError as error:
        status, said = 503, str(error)
    with cloud.lock:
        current = cloud.state.schedules.get(row["name"])
        if current is None:
            return  # deleted meanwhile
        current["status"] = {}
        if not 200 <= status < 300:
            reasons = [reason for reason, code in STATUS.items() if code == status]
            code = CODE[reasons[0]] if reasons else 2
            current["status"] = {"code": code, "message": f"HTTP {status}: {said[:300]}"}
        if current is not row:
            return  # planned anew meanwhile
        row["_running"] = False
        if row["status"]:
            _retry(row, now)
        else:
            row["_tries"] = 0
            _plan(row, now)


def _sent(cloud: Cloud, row: Row) -> tuple[int, str]:
    """Send a job's request; return status and text of the answer."""
    target = row["httpTarget"]
    parts = urlsplit(target["uri"])
    headers = {
        "Content-Type": "application/octet-stream",
        "User-Agent": "Google-Cloud-Scheduler",
        "X-CloudScheduler": "true",
        **target.get("headers", {}),
    }
    if account := (target.get("oauthToken") or {}).get("serviceAccountEmail"):
        headers["Authorization"] = f"Bearer {cloud.identity.mint(account)[0]}"
    body = base64.b64decode(target.get("body", ""))
    connection = http.client.HTTPConnection(urlsplit(cloud.url).netloc, timeout=30)
    path = f"/{parts.netloc}{parts.path}" + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(target["httpMethod"], path, body or None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    except http.client.HTTPException as error:
        raise OSError(repr(error)) from error
    finally:
        connection.close()


def _plan(row: Row, now: float) -> None:
    row["_next"] = schedule(row["schedule"], row["timeZone"]).after(now)
    row["scheduleTime"] = stamp(row["_next"])


def _retry(row: Row, now: float) -> None:
    """Plan the next attempt after a failed one."""
    config = row.get("retryConfig") or {}
    row["_tries"] += 1
    if row["_tries"] > config.get("retryCount", 0):
        row["_tries"] = 0
        _plan(row, now)
        return
    behaviour.apply("retries")
    least = float(config.get("minBackoffDuration", "5s")[:-1])
    most = float(config.get("maxBackoffDuration", "3600s")[:-1])
    row["_next"] = now + min(least * 2 ** (row["_tries"] - 1), most)
    row["scheduleTime"] = stamp(row["_next"])
