"""Asking one variant of a SageMaker endpoint directly, past the weights.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.adapters.cloud.aws import AwsError
from tidegate.adapters.target.sagemaker_names import ASKED, variant
from tidegate.endpoint.asking import columns_of, predictions_of
from tidegate.errors import NotJudgedError, OutsideError

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from tidegate.adapters.cloud.aws import Aws

CHUNK = 500  # rows asked at once
LARGEST = 4 << 20  # bytes of a request; AWS takes a little more


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks the variants of one endpoint."""

    aws: Aws
    endpoint: str

    def ask(self, version: str, rows: pa.Table) -> npt.NDArray[np.float64]:
        """Return one prediction per row."""
        parts = [
            self._ask(version, rows.slice(begin, CHUNK)) for begin in range(0, rows.num_rows, CHUNK)
        ]
        return np.concatenate(parts) if parts else np.empty(0)

    def _ask(self, version: str, rows: pa.Table) -> npt.NDArray[np.float64]:
        columns = columns_of(rows)
        data = [list(row) for row in zip(*columns.values(), strict=True)]
        body = json.dumps({"dataframe_split": {"columns": list(columns), "data": data}}).encode()
        if len(body) > LARGEST and rows.num_rows > 1:
            half = rows.num_rows // 2
            parts = [self._ask(version, rows.slice(0, half)), self._ask(version, rows.slice(half))]
            return np.concatenate(parts)
        answer = self._invoke(version, body)
        try:
            document = json.loads(answer)
        except ValueError as error:
            raise NotJudgedError(
                f"Version {version} answered something else than predictions: {error}"
            ) from None
        return predictions_of(document, rows.num_rows, f"Version {version}")

    def _invoke(self, version: str, body: bytes) -> bytes:
        request: dict[str, Any] = {
            "EndpointName": self.endpoint,
            "TargetVariant": variant(version),
            "ContentType": "application/json",
            "Accept": "application/json",
            "InferenceId": ASKED,
            "Body": body,
        }
        try:
            answer = self.aws.call("sagemaker-runtime", "invoke_endpoint", repeat=True, **request)
        except AwsError as error:
            if error.code != "ModelError":
                raise
            raise NotJudgedError(
                f"Version {version} cannot answer: {error}",
                remedy=f"See the log group /aws/sagemaker/Endpoints/{self.endpoint}.",
            ) from None
        try:
            data: bytes = answer["Body"].read()
        except Exception as error:  # noqa: BLE001 (a stream breaks in the ways of three libraries)
            raise OutsideError(f"The answer of version {version} broke off: {error}") from None
        return data
