"""From HTTP to an operation with its parameters and back, in the four protocols that occur here.

json: SageMaker, Logs, CloudWatch. CBOR: CloudWatch. rest-json: the SageMaker runtime, Scheduler.
query: STS.
Formats: https://smithy.io/2.0/aws/protocols/ and https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

from botocore.parsers import RpcV2CBORParser
from botocore.serialize import CBORSerializer

from tests.aws.validation import dated, service_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.aws.routing import RefusedError, Row

# X-Amz-Target's first half, or the path's service, to botocore's name.
_TARGETS = {
    "SageMaker": "sagemaker",
    "Logs_20140328": "logs",
    "GraniteServiceVersion20100801": "cloudwatch",
}
_CBOR_PATH = re.compile(r"/service/GraniteServiceVersion20100801/operation/(\w+)")


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request, understood."""

    service: str
    operation: str
    params: Row
    model: Any  # botocore's OperationModel
    cbor: bool = False


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


def parse(
    method: str, path: str, query: str, headers: Mapping[str, str], body: bytes, scope: str
) -> Call | None:
    """Return the call that a request is, or None where it is not one of our services.

    ``scope`` is the service in the signature's credential scope, "" when unsigned.
    """
    target, _, name = headers.get("x-amz-target", "").partition(".")
    if target in _TARGETS:
        model = _operation(_TARGETS[target], name)
        return _call(_TARGETS[target], name, model, json.loads(body or b"{}"))
    if scope == "monitoring" and (found := _CBOR_PATH.fullmatch(path)):
        parser = RpcV2CBORParser()
        raw = parser.parse_data_item(parser.get_peekable_stream_from_bytes(body)) if body else {}
        return _call("cloudwatch", found[1], _operation("cloudwatch", found[1]), raw, cbor=True)
    if scope in {"sagemaker", "scheduler"}:
        return _rest("sagemaker-runtime" if scope == "sagemaker" else "scheduler",
                     method, path, query, headers, body)  # fmt: skip
    if "x-www-form-urlencoded" in headers.get("content-type", ""):
        form = {key: values[0] for key, values in parse_qs(body.decode()).items()}
        if form.get("Action") in {"AssumeRoleWithWebIdentity", "GetCallerIdentity"}:
            form.pop("Version", None)
            name = form.pop("Action")
            params: Row = dict(form)
            if "DurationSeconds" in params:
                params["DurationSeconds"] = int(params["DurationSeconds"])
            return _call("sts", name, _operation("sts", name), params)
    return None


def _operation(service: str, name: str) -> Any:
    model = service_model(service)
    return model.operation_model(name) if name in model.operation_names else None


def _call(service: str, name: str, model: Any, raw: Row, *, cbor: bool = False) -> Call:
    shape = model.input_shape if model is not None else None
    return Call(service=service, operation=name, params=dated(shape, raw), model=model, cbor=cbor)


def _rest(
    service: str, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
) -> Call | None:
    model = service_model(service)
    for name in model.operation_names:
        operation = model.operation_model(name)
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", operation.http["requestUri"])
        found = re.fullmatch(pattern, path)
        if operation.http["method"] != method or found is None:
            continue
        shape = operation.input_shape
        params: Row = {}
        uri = {key: unquote(value) for key, value in found.groupdict().items()}
        asked = {key: values[0] for key, values in parse_qs(query).items()}
        for member, inner in shape.members.items():
            where, wire = inner.serialization.get("location"), inner.serialization.get("name")
            given = {"uri": uri, "querystring": asked}.get(where or "", {}).get(wire)
            if where == "header":
                given = headers.get(str(wire).lower())
            if given is not None:
                params[member] = int(given) if inner.type_name == "integer" else given
        payload = shape.serialization.get("payload")
        if payload:
            params[payload] = body
        elif body:
            params |= json.loads(body)
        return _call(service, name, operation, params)
    return None


# --- answers ------------------------------------------------------------------------------------


def render(call: Call, result: Row) -> Answer:
    """Return an operation's result as its protocol has it."""
    shape = call.model.output_shape
    if call.cbor:
        body = bytearray()
        if shape is not None:
            CBORSerializer()._serialize_data_item(body, result, shape)
        return Answer(status=200, headers=_CBOR, body=bytes(body))
    if call.service == "sts":
        return Answer(status=200, headers={"Content-Type": "text/xml"}, body=_xml(call, result))
    headers = {"Content-Type": "application/x-amz-json-1.1"}
    if call.service in {"sagemaker-runtime", "scheduler"}:
        headers["Content-Type"] = "application/json"
        result = dict(result)
        payload = shape.serialization.get("payload")
        for member, inner in shape.members.items():
            if inner.serialization.get("location") == "header" and member in result:
                headers[inner.serialization["name"]] = str(result.pop(member))
        if payload:
            return Answer(status=200, headers=headers, body=result[payload])
    body_text = b"" if shape is None else json.dumps(result, default=_plain).encode()
    return Answer(status=200, headers=headers, body=body_text)


def render_error(call: Call, refused: RefusedError) -> Answer:
    """Return a refusal as the service's protocol has it."""
    content = {"__type": refused.code, "message": refused.message, **refused.more}
    query = {"x-amzn-query-error": f"{refused.code};Sender"} if call.service == "cloudwatch" else {}
    if call.cbor:
        return Answer(
            status=refused.status,
            headers={**_CBOR, **query},
            body=_cbor_texts(content),
        )
    if call.service == "sts":
        text = (
            "<ErrorResponse><Error><Type>Sender</Type>"
            f"<Code>{refused.code}</Code><Message>{escape(refused.message)}</Message></Error>"
            "<RequestId>0</RequestId></ErrorResponse>"
        )
        return Answer(
            status=refused.status, headers={"Content-Type": "text/xml"}, body=text.encode()
        )
    content["Message"] = refused.message
    return Answer(
        status=refused.status,
        headers={"Content-Type": "application/json", "x-amzn-errortype": refused.code, **query},
        body=json.dumps(content).encode(),
    )


_CBOR = {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}


def _cbor_texts(content: Row) -> bytes:
    """Return a map of texts in CBOR."""
    data = bytearray([0xA0 + len(content)])
    for text in (str(part) for pair in content.items() for part in pair):
        encoded = text.encode()
        data += bytes([0x7A]) + len(encoded).to_bytes(4, "big") + encoded
    return bytes(data)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return round(value.timestamp(), 3)
    raise TypeError(type(value))


def _xml(call: Call, result: Row) -> bytes:
    def element(name: str, value: Any) -> str:
        if isinstance(value, dict):
            inner = "".join(element(key, one) for key, one in value.items())
        elif isinstance(value, datetime):
            inner = value.strftime("%Y-%m-%dT%H:%M:%SZ")
        else:
            inner = escape(str(value))
        return f"<{name}>{inner}</{name}>"

    name = call.operation
    inside = element(f"{name}Result", result)
    about = "<ResponseMetadata><RequestId>0</RequestId></ResponseMetadata>"
    space = "https://sts.amazonaws.com/doc/2011-06-15/"
    return f'<{name}Response xmlns="{space}">{inside}{about}</{name}Response>'.encode()
