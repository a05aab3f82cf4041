"""SageMaker: endpoints.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpoint.html,
API_UpdateEndpoint.html, API_UpdateEndpointWeightsAndCapacities.html and their siblings.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from tests.aws import machine
from tests.aws.configs import listing, store_tags, the_config, the_model
from tests.aws.routing import Row, invalid, operation
from tests.aws.state import Endpoint, Variant

if TYPE_CHECKING:
    from tests.aws.cloud import Cloud

BUSY = {"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}


def the_endpoint(cloud: Cloud, name: str) -> Endpoint:
    if name not in cloud.endpoints:
        raise invalid(f'Could not find endpoint "{cloud.arn("endpoint", name)}".')
    return cloud.endpoints[name]


def _changeable(cloud: Cloud, name: str) -> Endpoint:
    """Return an endpoint that takes a change now."""
    endpoint = the_endpoint(cloud, name)
    if endpoint.state in BUSY:
        raise invalid(f'Cannot update in-progress endpoint "{endpoint.arn}".')
    if endpoint.state == "Failed":
        raise invalid(f'Cannot update failed endpoint "{endpoint.arn}". It can only be deleted.')
    return endpoint


def _ready_config(cloud: Cloud, name: str) -> Row:
    """Return a deep copy of a configuration whose models exist."""
    if name in cloud.configs and cloud.stale_configs > 0:
        cloud.stale_configs -= 1
        arn = cloud.arn("endpoint-config", name)
        raise invalid(f'Could not find endpoint configuration "{arn}".')
    config = the_config(cloud, name)
    for variant in config.request["ProductionVariants"]:
        the_model(cloud, variant["ModelName"])
    return copy.deepcopy(config.request)


@operation("sagemaker", "CreateEndpoint")
def create_endpoint(cloud: Cloud, params: Row) -> Row:
    name = params["EndpointName"]
    arn = cloud.arn("endpoint", name)
    if name in cloud.endpoints:
        raise invalid(f'Cannot create already existing endpoint "{arn}".')
    config = _ready_config(cloud, params["EndpointConfigName"])
    now = cloud.time.date()
    endpoint = Endpoint(name, arn, params["EndpointConfigName"], now, now)
    endpoint.deployment = params.get("DeploymentConfig")
    endpoint.work = machine.creating(cloud, endpoint, config)
    cloud.endpoints[name] = endpoint
    store_tags(cloud, arn, params)
    return {"EndpointArn": arn}


@operation("sagemaker", "DescribeEndpoint")
def describe_endpoint(cloud: Cloud, params: Row) -> Row:
    endpoint = the_endpoint(cloud, params["EndpointName"])
    endpoint.remember(cloud)
    back = min(cloud.take_lag(), len(endpoint.versions) - 1)
    return endpoint.versions[-1 - back]


@operation("sagemaker", "ListEndpoints")
def list_endpoints(cloud: Cloud, params: Row) -> Row:
    wanted = params.get("StatusEquals")
    chosen = {name: one for name, one in cloud.endpoints.items() if wanted in {None, one.state}}
    return listing(
        chosen,
        params,
        "Endpoints",
        lambda one: {
            "EndpointName": one.name,
            "EndpointArn": one.arn,
            "EndpointStatus": one.state,
            "CreationTime": one.created,
            "LastModifiedTime": one.modified,
        },
    )


@operation("sagemaker", "UpdateEndpoint")
def update_endpoint(cloud: Cloud, params: Row) -> Row:
    endpoint = _changeable(cloud, params["EndpointName"])
    the_config(cloud, endpoint.config)  # AWS reads the old one, too
    config = _ready_config(cloud, params["EndpointConfigName"])
    variants = [Variant.of(request) for request in config["ProductionVariants"]]
    deployment = params.get("DeploymentConfig")
    if deployment is None and params.get("RetainDeploymentConfig"):
        deployment = endpoint.deployment
    if deployment is not None:
        _check_deployment(deployment, endpoint, variants)
    capture = config.get("DataCaptureConfig")
    if params.get("RetainAllVariantProperties"):
        excluded = {
            row["VariantPropertyType"] for row in params.get("ExcludeRetainedVariantProperties", [])
        }
        _retain(endpoint, variants, excluded)
        if "DataCaptureConfig" not in excluded:
            capture = endpoint.capture
    endpoint.deployment = deployment
    _begin(cloud, endpoint)
    endpoint.work = machine.updating(cloud, endpoint, config, variants, capture)
    return {"EndpointArn": endpoint.arn}


def _begin(cloud: Cloud, endpoint: Endpoint) -> None:
    endpoint.status, endpoint.frozen, endpoint.reason = "Updating", None, None
    endpoint.modified = cloud.time.date()


def _retain(endpoint: Endpoint, variants: list[Variant], excluded: set[str]) -> None:
    running = {variant.name: variant for variant in endpoint.variants}
    for variant in variants:
        old = running.get(variant.name)
        if old is not None and "DesiredWeight" not in excluded:
            variant.weight = variant.desired_weight = old.desired_weight
        if old is not None and "DesiredInstanceCount" not in excluded and not variant.serverless:
            variant.count = variant.desired_count = old.desired_count


def _check_deployment(deployment: Row, endpoint: Endpoint, variants: list[Variant]) -> None:
    if {one.name for one in variants} != {one.name for one in endpoint.variants}:
        raise invalid(
            "With a DeploymentConfig the new endpoint configuration must have the same variant "
            "names as the old one."
        )
    rolling = deployment.get("RollingUpdatePolicy")
    if rolling is not None and "BlueGreenUpdatePolicy" in deployment:
        raise invalid("Only one of BlueGreenUpdatePolicy and RollingUpdatePolicy is allowed.")
    if rolling is not None and len(variants) > 1:
        raise invalid("Rolling deployments do not support multi-variant endpoints.")
    if rolling is not None and any(one.serverless for one in variants):
        raise invalid("Rolling deployments do not support serverless endpoints.")
    routing = deployment.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration", {})
    kind = routing.get("Type")
    for wanted, name in (("CANARY", "CanarySize"), ("LINEAR", "LinearStepSize")):
        if (kind == wanted) != (name in routing):
            raise invalid(f"{name} belongs to {wanted} traffic routing, and is required there.")
    sizes = [
        (routing.get("CanarySize"), 0, 50),
        (routing.get("LinearStepSize"), 10, 50),
        (rolling and rolling["MaximumBatchSize"], 5, 50),
    ]
    capacity = sum(one.count for one in variants)
    for size, low, high in sizes:
        if not size:
            continue
        value = size["Value"]
        per_cent = value if size["Type"] == "CAPACITY_PERCENT" else 100 * value / max(capacity, 1)
        if not low <= per_cent <= high:
            raise invalid(f"The batch must be {low} to {high} % of the capacity, not {per_cent} %.")


@operation("sagemaker", "UpdateEndpointWeightsAndCapacities")
def update_weights(cloud: Cloud, params: Row) -> Row:
    endpoint = _changeable(cloud, params["EndpointName"])
    wanted = params["DesiredWeightsAndCapacities"]
    variants = {variant.name: variant for variant in endpoint.variants}
    for change in wanted:
        name = change["VariantName"]
        if name not in variants:
            raise invalid(f'The variant name(s) "{name}" is/are not present within endpoint '
                          "configuration.")  # fmt: skip
        if variants[name].serverless is not None:
            raise invalid("Weights and instance counts are not supported for serverless variants.")
    if sum("DesiredInstanceCount" in change for change in wanted) > 1:
        raise invalid("The capacity of one variant can be changed per call.")
    before = {one.name: (one.desired_weight, one.desired_count) for one in endpoint.variants}
    for change in wanted:
        variant = variants[change["VariantName"]]
        variant.desired_weight = change.get("DesiredWeight", variant.desired_weight)
        variant.desired_count = change.get("DesiredInstanceCount", variant.desired_count)
    _begin(cloud, endpoint)
    endpoint.work = machine.weighing(cloud, endpoint, before)
    return {"EndpointArn": endpoint.arn}


@operation("sagemaker", "DeleteEndpoint")
def delete_endpoint(cloud: Cloud, params: Row) -> Row:
    endpoint = the_endpoint(cloud, params["EndpointName"])
    if endpoint.state in BUSY:
        raise invalid(f'Cannot update in-progress endpoint "{endpoint.arn}".')
    endpoint.status, endpoint.frozen = "Deleting", None
    endpoint.work = machine.deleting(cloud, endpoint)
    return {}
