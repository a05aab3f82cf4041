"""What ``mlops.yaml`` asks of a cloud, as values for its policies."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tidegate.errors import ConfigError
from tidegate.grants import Cloud, Part

if TYPE_CHECKING:
    from tidegate.commands.context import Context
    from tidegate.core.clouds import SageMaker, TrainOnSageMaker, TrainOnVertex, Vertex

_SCHEME = {Cloud.AWS: "s3", Cloud.GCP: "gs"}
_ARN = re.compile(
    r"arn:(?P<partition>[a-z-]+):iam::(?P<account>\d{12}):role/(?P<role>.+)", re.ASCII
)
_IMAGE = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?/(?P<repository>[^:@]+).*",
    re.ASCII,
)
_KEY = re.compile(
    r"(?:arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:key/)?(?P<key>[0-9a-f-]{36}|mrk-[0-9a-f]+)"
)


def asked(cloud: Cloud, context: Context) -> tuple[frozenset[Part], dict[str, str]]:
    """Return the parts that use the cloud (all, where none does), and the values they name.

    What holds a variable that is not set here is left out.
    """
    known = _Known(context)
    known.put("model", context.config.model.name)
    known.put("endpoint", context.config.release.endpoint)
    parts = set()
    store = context.config.registry.store or ""
    if store.startswith(f"{_SCHEME[cloud]}://"):
        parts.add(Part.REGISTRY)
        known.bucket("registry_", store)
    labels = context.config.release.canary.labels.source or ""
    if labels.startswith(f"{_SCHEME[cloud]}://"):
        known.bucket("labels_", labels)
    if known.target(cloud):
        parts.add(Part.TARGET)
    if known.compute(cloud):
        parts.add(Part.COMPUTE)
    return frozenset(parts or Part), known.found


class _Known:
    """Collects values, resolved."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.found: dict[str, str] = {}

    def put(self, key: str, raw: str | None) -> None:
        """Keep a value, if there is one and it can be told here."""
        if (text := self._text(raw)) is not None:
            self.found.setdefault(key, text)

    def bucket(self, kind: str, raw: str) -> None:
        """Keep a bucket and its folder."""
        if (text := self._text(raw)) is not None:
            name, _, folder = text.partition("://")[2].partition("/")
            self.found[f"{kind}bucket"] = name
            self.found[f"{kind}prefix"] = folder.rstrip("/")

    def target(self, cloud: Cloud) -> bool:
        """Keep what ``release`` says; whether it is in this cloud."""
        release = self._context.config.release
        if cloud is Cloud.AWS and release.sagemaker is not None:
            self._sagemaker(release.sagemaker)
            return True
        if cloud is Cloud.GCP and release.vertex is not None:
            self._vertex(release.vertex)
            return True
        return False

    def compute(self, cloud: Cloud) -> bool:
        """Keep what ``train`` says; whether it is in this cloud."""
        train = self._context.config.train
        if cloud is Cloud.AWS and train.sagemaker is not None:
            self._train_sagemaker(train.sagemaker)
            return True
        if cloud is Cloud.GCP and train.vertex is not None:
            self._train_vertex(train.vertex)
            return True
        return False

    def _sagemaker(self, block: SageMaker) -> None:
        self.bucket("", block.bucket)
        self.put("region", block.region)
        self._role("execution_role", block.execution_role)
        self._role("scheduler_role", block.scheduler_role)
        self._image("image_account", "image_repository", block.image)
        self._key(block.kms_key)
        self.put("alarms", ",".join(block.alarms) or None)

    def _vertex(self, block: Vertex) -> None:
        self.bucket("", block.bucket)
        self.put("project", block.project)
        self.put("region", block.region)
        self.put("runner_account", block.service_account)
        self.put("scheduler_account", block.scheduler_account)
        if (table := self._text(block.log_table)) is not None:
            self.found["log_table"] = table.removeprefix("bq://")

    def _train_sagemaker(self, block: TrainOnSageMaker) -> None:
        self.bucket("train_", block.bucket)
        self.put("region", block.region)
        self._role("train_role", block.role)
        self._image("train_image_account", "train_image", block.image)
        self._key(block.kms_key)

    def _train_vertex(self, block: TrainOnVertex) -> None:
        self.bucket("train_", block.bucket)
        self.put("project", block.project)
        self.put("region", block.region)
        self.put("train_account", block.service_account)

    def _text(self, raw: str | None) -> str | None:
        try:
            return None if raw is None else self._context.value(raw, "mlops.yaml")
        except ConfigError:  # a variable that only the jobs have
            return None

    def _role(self, key: str, raw: str) -> None:
        text = self._text(raw)
        if text is None:
            return
        if (arn := _ARN.fullmatch(text)) is None:
            self.put(key, text)
            return
        self.put(key, arn["role"])
        self.put("account", arn["account"])
        self.put("partition", arn["partition"])

    def _image(self, account: str, repository: str, raw: str | None) -> None:
        if found := _IMAGE.fullmatch(self._text(raw) or ""):
            self.put(account, found["account"])
            self.put(repository, found["repository"])

    def _key(self, raw: str | None) -> None:
        if found := _KEY.fullmatch(self._text(raw) or ""):
            self.put("key", found["key"])
