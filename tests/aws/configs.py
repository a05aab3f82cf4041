"""SageMaker: models, endpoint configurations and tags.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModel.html,
API_CreateEndpointConfig.html, API_AddTags.html and their siblings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.aws.routing import Row, invalid, operation, paged
from tests.aws.state import EndpointConfig, Model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.aws.cloud import Cloud


def store_tags(cloud: Cloud, arn: str, params: Row) -> None:
    """Keep the tags of a request that creates something."""
    cloud.tags[arn] = {tag["Key"]: tag["Value"] for tag in params.get("Tags", [])}


def listing(
    things: Mapping[str, Any], params: Row, key: str, row: Any, *, name: Any = lambda one: one.name
) -> Row:
    """Return a page of things as List calls do: newest first, ``NameContains`` a filter."""
    found = [one for one in things.values() if params.get("NameContains", "") in name(one)]
    by = params.get("SortBy", "CreationTime")
    found.sort(
        key=name if by == "Name" else lambda one: one.created,
        reverse=params.get("SortOrder", "Descending") == "Descending",
    )
    return paged([row(one) for one in found], params, key, size=10)


# --- models -------------------------------------------------------------------------------------


@operation("sagemaker", "CreateModel")
def create_model(cloud: Cloud, params: Row) -> Row:
    name = params["ModelName"]
    arn = cloud.arn("model", name)
    if name in cloud.models:
        raise invalid(f'Cannot create already existing model "{arn}".')
    containers = [params[key] for key in ("PrimaryContainer",) if key in params]
    containers += params.get("Containers", [])
    if len(containers) != 1:
        raise invalid("Exactly one container per model is in the stand-in.")
    container = containers[0]
    if not container.get("Image"):
        raise invalid("An image is required for a container without a model package.")
    if url := container.get("ModelDataUrl"):
        cloud.fleet.check(url)
    model = Model(name, arn, cloud.time.date(), params)
    cloud.models[name] = model
    store_tags(cloud, arn, params)
    return {"ModelArn": arn}


def the_model(cloud: Cloud, name: str) -> Model:
    if name not in cloud.models:
        raise invalid(f'Could not find model "{cloud.arn("model", name)}".')
    return cloud.models[name]


@operation("sagemaker", "DescribeModel")
def describe_model(cloud: Cloud, params: Row) -> Row:
    model = the_model(cloud, params["ModelName"])
    known = ("ModelName", "PrimaryContainer", "Containers", "ExecutionRoleArn", "VpcConfig")
    return {
        **{key: model.request[key] for key in known if key in model.request},
        "ModelArn": model.arn,
        "CreationTime": model.created,
        "EnableNetworkIsolation": model.request.get("EnableNetworkIsolation", False),
    }


@operation("sagemaker", "ListModels")
def list_models(cloud: Cloud, params: Row) -> Row:
    return listing(
        cloud.models,
        params,
        "Models",
        lambda one: {"ModelName": one.name, "ModelArn": one.arn, "CreationTime": one.created},
    )


@operation("sagemaker", "DeleteModel")
def delete_model(cloud: Cloud, params: Row) -> Row:
    model = the_model(cloud, params["ModelName"])
    del cloud.models[model.name]
    cloud.tags.pop(model.arn, None)
    return {}


# --- endpoint configurations --------------------------------------------------------------------


@operation("sagemaker", "CreateEndpointConfig")
def create_config(cloud: Cloud, params: Row) -> Row:
    name = params["EndpointConfigName"]
    arn = cloud.arn("endpoint-config", name)
    if name in cloud.configs:
        raise invalid(f'Cannot create already existing endpoint configuration "{arn}".')
    if params.get("ShadowProductionVariants"):
        raise invalid("Shadow variants are not in the stand-in.")
    variants = params["ProductionVariants"]
    names = [variant["VariantName"] for variant in variants]
    if len(set(names)) != len(names):
        raise invalid("The variant names must be unique.")
    for variant in variants:
        _check_variant(cloud, variant, alone=len(variants) == 1)
    cloud.configs[name] = EndpointConfig(name, arn, cloud.time.date(), params)
    store_tags(cloud, arn, params)
    return {"EndpointConfigArn": arn}


def _check_variant(cloud: Cloud, variant: Row, *, alone: bool) -> None:
    if "ModelName" not in variant:
        raise invalid("Inference components are not in the stand-in: a variant needs a ModelName.")
    the_model(cloud, variant["ModelName"])
    if "ServerlessConfig" in variant:
        if {"InstanceType", "InitialInstanceCount"} & variant.keys():
            raise invalid("A serverless variant has no instances.")
        if not alone:
            raise invalid("Serverless inference does not support multiple production variants.")
    elif not {"InstanceType", "InitialInstanceCount"} <= variant.keys():
        raise invalid(
            "InstanceType and InitialInstanceCount are required for a variant with instances."
        )


def the_config(cloud: Cloud, name: str) -> EndpointConfig:
    if name not in cloud.configs:
        arn = cloud.arn("endpoint-config", name)
        raise invalid(f'Could not find endpoint configuration "{arn}".')
    return cloud.configs[name]


@operation("sagemaker", "DescribeEndpointConfig")
def describe_config(cloud: Cloud, params: Row) -> Row:
    config = the_config(cloud, params["EndpointConfigName"])
    kept = {key: value for key, value in config.request.items() if key != "Tags"}
    for variant in kept["ProductionVariants"]:
        variant.setdefault("InitialVariantWeight", 1.0)
    return {
        "EnableNetworkIsolation": False,
        **kept,
        "EndpointConfigArn": config.arn,
        "CreationTime": config.created,
    }


@operation("sagemaker", "ListEndpointConfigs")
def list_configs(cloud: Cloud, params: Row) -> Row:
    return listing(
        cloud.configs,
        params,
        "EndpointConfigs",
        lambda one: {
            "EndpointConfigName": one.name,
            "EndpointConfigArn": one.arn,
            "CreationTime": one.created,
        },
    )


@operation("sagemaker", "DeleteEndpointConfig")
def delete_config(cloud: Cloud, params: Row) -> Row:
    config = the_config(cloud, params["EndpointConfigName"])
    del cloud.configs[config.name]
    cloud.tags.pop(config.arn, None)
    return {}


# --- tags ---------------------------------------------------------------------------------------


def _tagged(cloud: Cloud, arn: str) -> dict[str, str]:
    if arn not in cloud.tags:
        raise invalid(f'Could not find resource "{arn}".')
    return cloud.tags[arn]


@operation("sagemaker", "AddTags")
def add_tags(cloud: Cloud, params: Row) -> Row:
    tags = _tagged(cloud, params["ResourceArn"])
    wanted = tags | {tag["Key"]: tag["Value"] for tag in params["Tags"]}
    if len(wanted) > 50:
        raise invalid("The number of tags exceeds the limit of 50.")
    tags.update(wanted)
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


@operation("sagemaker", "ListTags")
def list_tags(cloud: Cloud, params: Row) -> Row:
    tags = cloud.tags.get(params["ResourceArn"], {})
    rows = [{"Key": key, "Value": value} for key, value in tags.items()]
    return paged(rows, params, "Tags", size=50)


@operation("sagemaker", "DeleteTags")
def delete_tags(cloud: Cloud, params: Row) -> Row:
    tags = _tagged(cloud, params["ResourceArn"])
    for key in params["TagKeys"]:
        tags.pop(key, None)
    return {}
