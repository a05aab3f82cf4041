"""An AWS stand-in on loopback: SageMaker, CloudWatch, Scheduler, Logs and STS of our own, the rest by moto.

with serve() as cloud:
    client = boto3.client("sagemaker", endpoint_url=cloud.url)

What it does where the service model is silent, and on whose word: :mod:`tests.aws.behaviour`.
"""

from tests.aws.cloud import Cloud
from tests.aws.server import running, serve

__all__ = ["Cloud", "running", "serve"]
