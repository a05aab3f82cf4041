"""Which rows belong together: cells whose unions are all the groups that rules ask about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tidegate.core.metrics.kinds import Codes
    from tidegate.core.table import Predictions

MOST_CELLS = 4096
By: TypeAlias = tuple[str, ...]
Atoms: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The combinations of the slice columns' values, whether they occur or not.

    Attributes:
        sizes: column -> how many categories it has; code 0 of a column's digit is "no value".
        partitions: the combinations of columns that are asked for.
    """

    sizes: Mapping[str, int]
    partitions: tuple[By, ...]

    @property
    def cells(self) -> int:
        """How many cells there are."""
        product = 1
        for size in self.sizes.values():
            product *= size + 1
        return product

    def of(self, batch: Predictions) -> Atoms:
        """Return every row's cell, shape (n,)."""
        narrow = np.dtype(np.uint8 if self.cells <= 256 else np.uint16)
        cell: Atoms = np.zeros(batch.n, dtype=narrow)
        for name, size in self.sizes.items():
            # Numbers stay below the number of cells; of one column only, 0 is multiplied.
            cell = cell * narrow.type(min(size + 1, self.cells - 1))
            cell = cell + (batch.slices[name][1] + 1).astype(narrow)
        return cell

    def groups(self, by: By, counts: Codes) -> list[tuple[int, Codes]]:
        """Return the groups of a partition that occur: product code (as in ``groups``) and cells.

        Args:
            by: the partition's columns.
            counts: rows per cell, shape (cells,).
        """
        digits = np.unravel_index(np.arange(self.cells), [size + 1 for size in self.sizes.values()])
        column = dict(zip(self.sizes, digits, strict=True))
        code = np.zeros(self.cells, dtype=np.intp)
        there = counts > 0
        for name in by:
            code = code * self.sizes[name] + column[name] - 1
            there &= column[name] > 0
        found = np.flatnonzero(there)
        return [(int(c), found[code[found] == c]) for c in np.unique(code[found])]


def lay_out(table: Predictions, partitions: Sequence[By]) -> Layout | None:
    """Return the layout of these partitions; None when there are too many cells for sums to pay."""
    names = dict.fromkeys(name for by in partitions for name in by)
    layout = Layout(
        sizes={name: len(table.slices[name][0]) for name in names}, partitions=tuple(partitions)
    )
    return layout if layout.cells <= MOST_CELLS else None
