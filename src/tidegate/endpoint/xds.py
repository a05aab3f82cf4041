"""Envoy's configuration as plain documents: listener, clusters and routes of one endpoint.

Envoy reads them from files and follows every atomic move, so weights change without a reload:
https://www.envoyproxy.io/docs/envoy/latest/configuration/overview/xds_api
The names used below: https://www.envoyproxy.io/docs/envoy/latest/api-v3/api
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tidegate.endpoint.layout import key, version_of
from tidegate.endpoint.spec import TOTAL, weights

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tidegate.core.endpoint import Traffic

ARRIVED = "x-tidegate-arrived"  # request header: Envoy's clock, for the answers' minutes
_START = "%START_TIME(%s.%3f)%"
INVOCATIONS = "invocations"  # the name of the one route that is counted
LOG = "access/current"  # a symbolic link to the segment being written
_TYPE = "type.googleapis.com/envoy."
_HTTP = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def bootstrap(admin_socket: str) -> dict[str, Any]:
    """Return the fixed part: the private administration socket and where the rest is read."""
    return {
        "node": {"id": "tidegate", "cluster": "tidegate"},
        "admin": {"address": {"pipe": {"path": admin_socket, "mode": 0o600}}},
        "dynamic_resources": {
            "cds_config": _source("xds/clusters.json"),
            "lds_config": _source("xds/listeners.json"),
        },
    }


def listeners(bind: str, port: int, timeout: float) -> dict[str, Any]:
    """Return the one listener. ``timeout`` in seconds bounds a request's whole life.

    Port reuse is off: with it, a second Envoy would silently share the port.
    """
    manager = {
        "@type": f"{_TYPE}{_HTTP}",
        "stat_prefix": "endpoint",
        "rds": {"route_config_name": "endpoint", "config_source": _source("xds/routes.json")},
        "generate_request_id": True,
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        # Otherwise Envoy writes trace bits into the client's own id, and labels no longer match.
        "request_id_extension": {
            "typed_config": {
                "@type": f"{_TYPE}extensions.request_id.uuid.v3.UuidRequestIdConfig",
                "pack_trace_reason": False,
            }
        },
        # A little later than the route's timeout: an upload that never ends is the client's fault
        # and must not keep a minute open.
        "common_http_protocol_options": {"max_stream_duration": f"{timeout + 0.2:.3f}s"},
        "http_filters": [
            {
                "name": "router",
                "typed_config": {"@type": f"{_TYPE}extensions.filters.http.router.v3.Router"},
            }
        ],
        "access_log": [_access_log()],
    }
    return {
        "resources": [
            {
                "@type": f"{_TYPE}config.listener.v3.Listener",
                "name": "endpoint",
                "enable_reuse_port": False,
                "address": {"socket_address": {"address": bind, "port_value": port}},
                "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
            }
        ]
    }


def clusters(sockets: Mapping[str, str]) -> dict[str, Any]:
    """Return one cluster per version; ``sockets`` maps versions to Unix sockets."""
    return {"resources": [_cluster(version, sockets[version]) for version in sorted(sockets)]}


def routes(traffic: Traffic, timeout: float) -> dict[str, Any]:
    """Return the routes: random per request by weight, never tried again on another variant."""
    split = {
        "clusters": [
            {
                "name": key(version),
                "weight": weight,
                "response_headers_to_add": [
                    {
                        "header": {"key": "x-tidegate-version", "value": version},
                        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                    }
                ],
            }
            for version, weight in weights(traffic).items()
        ]
    }
    action: dict[str, Any] = (
        {"route": {"weighted_clusters": split, "timeout": f"{timeout:.3f}s"}}
        if traffic
        else {"direct_response": {"status": 503, "body": {"inline_string": "no model serves yet"}}}
    )
    matches = [(INVOCATIONS, "/invocations")]
    matches += [("other", path) for path in ("/ping", "/health", "/version")]
    return {
        "resources": [
            {
                "@type": f"{_TYPE}config.route.v3.RouteConfiguration",
                "name": "endpoint",
                "virtual_hosts": [
                    {
                        "name": "endpoint",
                        "domains": ["*"],
                        "request_headers_to_add": [
                            {
                                "header": {"key": ARRIVED, "value": _START},
                                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                            }
                        ],
                        "routes": [
                            {"name": name, "match": {"path": path}, **action}
                            for name, path in matches
                        ],
                    }
                ],
            }
        ]
    }


def shares(dump: Mapping[str, Any]) -> dict[str, float]:
    """Return version -> share out of Envoy's dump of its dynamic routes."""
    for config in dump.get("configs", ()):
        for host in config.get("route_config", {}).get("virtual_hosts", ()):
            for route in host.get("routes", ()):
                if route.get("name") == INVOCATIONS:
                    split = route.get("route", {}).get("weighted_clusters", {})
                    return {
                        version_of(cluster["name"]): cluster["weight"] / TOTAL
                        for cluster in split.get("clusters", ())
                    }
    return {}


def known_clusters(dump: Mapping[str, Any]) -> set[str]:
    """Return the versions out of Envoy's dump of its dynamic clusters."""
    names: Iterable[str] = (config["cluster"]["name"] for config in dump.get("configs", ()))
    return {version_of(name) for name in names}


def _source(path: str) -> dict[str, Any]:
    return {"resource_api_version": "V3", "path_config_source": {"path": path}}


def _cluster(version: str, socket: str) -> dict[str, Any]:
    options = "extensions.upstreams.http.v3.HttpProtocolOptions"
    address = {"address": {"pipe": {"path": socket}}}
    return {
        "@type": f"{_TYPE}config.cluster.v3.Cluster",
        "name": key(version),
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": key(version),
            "endpoints": [{"lb_endpoints": [{"endpoint": address}]}],
        },
        # Envoy closes idle connections long before the server would, so that no request meets a
        # connection that is being closed.
        "typed_extension_protocol_options": {
            f"envoy.{options}": {
                "@type": f"{_TYPE}{options}",
                "common_http_protocol_options": {"idle_timeout": "60s"},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _access_log() -> dict[str, Any]:
    fields = {
        "route": "%ROUTE_NAME%",
        "t": _START,
        "variant": "%UPSTREAM_CLUSTER%",
        "status": "%RESPONSE_CODE%",
        "ms": "%DURATION%",
        "flags": "%RESPONSE_FLAGS%",
        "id": "%REQ(X-REQUEST-ID)%",
    }
    return {
        "name": "file",
        "typed_config": {
            "@type": f"{_TYPE}extensions.access_loggers.file.v3.FileAccessLog",
            "path": LOG,
            "log_format": {"json_format": fields},
        },
    }
