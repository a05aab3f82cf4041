"""What was made on SageMaker for versions that are gone: configurations and models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidegate.adapters.cloud.aws import AwsError
from tidegate.adapters.target.sagemaker_names import OWNER, WANTED, Wanted
from tidegate.adapters.target.sagemaker_reading import generation_of, missing

if TYPE_CHECKING:
    from tidegate.adapters.cloud.aws import Aws
    from tidegate.adapters.target.sagemaker_models import Models
    from tidegate.adapters.target.sagemaker_names import Names
    from tidegate.adapters.target.sagemaker_reading import Reader, Seen

_CONFIG, _MODEL = "configuration ", "model "


@dataclass(slots=True)
class Leftovers:
    """Finds and deletes them. They are looked for once per configuration that serves and generation.

    The generation belongs to it: an update that was taken back leaves the same configuration
    serving, and its own behind.
    """

    aws: Aws
    names: Names
    reader: Reader
    models: Models
    _found: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)

    def find(self, seen: Seen) -> tuple[str, ...]:
        """Return what nothing uses any more, for people; only of an endpoint that is at rest.

        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListEndpointConfigs.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListModels.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListTags.html
        """
        if not seen.ours or seen.status != "InService" or seen.endpoint.busy is not None:
            return ()
        current = str(seen.config.get("EndpointConfigName", ""))
        state = (current, seen.endpoint.generation)
        if state not in self._found:
            self._found[state] = (*self._configs(seen, current), *self._models(seen))
        return self._found[state]

    def delete(self, seen: Seen, generation: int) -> None:
        """Delete them, as ``generation``; what came into use since they were found stays.

        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeleteEndpointConfig.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeleteModel.html
        """
        found, in_use = self.find(seen), self._in_use(seen)
        for thing in found:
            name = thing.removeprefix(_CONFIG).removeprefix(_MODEL)
            if name in in_use:
                continue
            if thing.startswith(_MODEL):
                self.models.delete(name)
            else:
                self._delete_config(name)
        self._found = {(str(seen.config.get("EndpointConfigName", "")), generation): ()}

    def _delete_config(self, name: str) -> None:
        """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeleteEndpointConfig.html"""
        try:
            self.aws.call(
                "sagemaker", "delete_endpoint_config", repeat=True, EndpointConfigName=name
            )
        except AwsError as error:
            if not missing(error):
                raise

    def _configs(self, seen: Seen, current: str) -> list[str]:
        """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListEndpointConfigs.html"""
        rows = self.aws.pages(
            "sagemaker", "list_endpoint_configs", "EndpointConfigs", NameContains=self.names.stem
        )
        in_use = self._in_use(seen)
        found = []
        for row in rows:
            name = str(row["EndpointConfigName"])
            generation = self.names.generation_of(name)
            if generation is None or name == current or name in in_use:
                continue
            if generation < seen.endpoint.generation and self._is_ours(row["EndpointConfigArn"]):
                found.append(_CONFIG + name)
        return found

    def _models(self, seen: Seen) -> list[str]:
        """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListModels.html"""
        rows = self.aws.pages("sagemaker", "list_models", "Models", NameContains=self.names.stem)
        in_use = self._in_use(seen)
        return [
            _MODEL + str(row["ModelName"])
            for row in rows
            if self.names.is_model(str(row["ModelName"]))
            and row["ModelName"] not in in_use
            and self._is_ours(row["ModelArn"], before=seen.endpoint.generation)
        ]

    def _in_use(self, seen: Seen) -> set[str]:
        """Return the configurations that serve or are asked for, and their models."""
        assert seen.row is not None
        wanted = Wanted.of(seen.tags.get(WANTED, ""))
        used = {str(seen.row["EndpointConfigName"])} | ({wanted.config} if wanted else set())
        for name in tuple(used):
            variants = self.reader.config(name).get("ProductionVariants", ())
            used |= {str(one.get("ModelName")) for one in variants}
        return used

    def _is_ours(self, arn: str, before: int | None = None) -> bool:
        """Whether a thing carries our tag, and is older than the generation ``before``."""
        tags = self.reader.tags(arn)
        older = before is None or generation_of(tags) < before
        return tags.get(OWNER) == self.names.endpoint and older
