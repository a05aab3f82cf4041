"""The hooks that AWS's inference containers call; the archive carries this file as code/inference.py.

Two toolkits call them. PyTorch images: https://github.com/aws/sagemaker-inference-toolkit
(``model_fn(model_dir)``, ``transform_fn(model, data, content_type, accept)``; both count parameters).
scikit-learn and XGBoost images: ``sagemaker_containers``, with the same hooks; it may copy this file
elsewhere, so the code beside the model is found from ``model_dir``.
https://docs.aws.amazon.com/sagemaker/latest/dg/adapt-inference-container.html
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

JSON = "application/json"


def model_fn(model_dir: str) -> Any:
    """Load the model; what this raises keeps the container from becoming healthy."""
    if sys.version_info < (3, 11):  # noqa: UP036 (the image chooses the Python)
        raise RuntimeError("Tidegate's scoring code needs an image with Python 3.11 or newer.")
    code = str(Path(model_dir) / "code")
    if code not in sys.path:
        sys.path.insert(0, code)
    from tidegate.container.answering import load

    return load(Path(model_dir))


def transform_fn(model: Any, data: Any, content_type: str, accept: str) -> Any:  # noqa: ARG001
    """Answer one request; the client's own fault is a 400, the model's a 500."""
    from tidegate.container.answering import problem
    from tidegate.endpoint.protocol import ProtocolError

    body = data.encode() if isinstance(data, str) else bytes(data)
    try:
        return model.answer(body).decode(), JSON
    except ProtocolError as error:
        return _refusal(problem("BAD_REQUEST", error).decode())


def _refusal(message: str) -> Any:
    """Say 400 in the words of the toolkit that asked."""
    if "sagemaker_inference" in sys.modules:
        from sagemaker_inference.errors import BaseInferenceToolkitError  # type: ignore[import-not-found]

        raise BaseInferenceToolkitError(400, message, "Bad Request")
    from sagemaker_containers.beta.framework import worker  # type: ignore[import-not-found]

    return worker.Response(response=message, status=400, mimetype=JSON)
