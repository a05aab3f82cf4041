"""The fence of a SageMaker endpoint: a tag that holds the newest generation that was accepted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.adapters.target.sagemaker_names import GENERATION, OWNER, tags
from tidegate.adapters.target.sagemaker_reading import generation_of
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.adapters.cloud.aws import Aws
    from tidegate.adapters.target.sagemaker_names import Names
    from tidegate.adapters.target.sagemaker_reading import Reader, Seen


@dataclass(frozen=True, slots=True)
class Fence:
    """Lets the newest controller through, and nobody while the endpoint cannot be changed.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_AddTags.html
    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListTags.html
    """

    aws: Aws
    names: Names
    reader: Reader

    def writable(self, generation: int, *, made: bool = False) -> Seen:
        """Return the endpoint, if it may be changed now; one that is ``made`` need not be there."""
        seen = self.reader.look()
        if seen.row is None:
            if made:
                return seen
            raise OutsideError(
                f"There is no endpoint {self.names.endpoint}.", remedy="Deploy a version."
            )
        if not seen.ours:
            raise OutsideError(
                f"The endpoint {self.names.endpoint} was not made by Tidegate.",
                remedy=f"Name another one (release.endpoint), or hand it over by giving it the tag "
                f"{OWNER}={self.names.endpoint}.",
            )
        fence(seen.endpoint.generation, generation)
        if (trouble := seen.endpoint.broken or seen.endpoint.busy) is not None:
            raise OutsideError(
                f"The endpoint {self.names.endpoint} cannot be changed now: {trouble}.",
                remedy="Repair it by hand; the next pass goes on from there."
                if seen.endpoint.broken
                else "The next pass tries again.",
            )
        return seen

    def claim(self, seen: Seen, generation: int, more: Mapping[str, str] | None = None) -> None:
        """Write the generation down, and see that nobody newer came meanwhile."""
        fence(generation_of(self.reader.tags(seen.arn)), generation)
        marks = tags({GENERATION: str(generation), **(more or {})})
        self.aws.call("sagemaker", "add_tags", repeat=True, ResourceArn=seen.arn, Tags=marks)
        fence(generation_of(self.reader.tags(seen.arn)), generation)

    def confirm(self, arn: str, generation: int, did: str) -> None:
        """See after a change that it was still ours to make."""
        found = generation_of(self.reader.tags(arn))
        if found > generation:
            raise OutsideError(
                f"Generation {found} changed the endpoint while generation {generation} {did}.",
                remedy="Somebody else moved on, and reads back what this one did. Read the ledger "
                "again and decide again.",
            )
        if found < generation:  # one that fell behind wrote over it
            marks = tags({GENERATION: str(generation)})
            self.aws.call("sagemaker", "add_tags", repeat=True, ResourceArn=arn, Tags=marks)


def fence(seen: int, generation: int) -> None:
    """Let only the newest controller through.

    Raises:
        OutsideError: a newer generation was seen.
    """
    if generation < seen:
        raise OutsideError(
            f"The endpoint has seen generation {seen}; {generation} is out of date.",
            remedy="Somebody else moved on. Read the ledger again and decide again.",
        )
