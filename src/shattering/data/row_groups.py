"""`RowGroups`: rows of Parquet files that a process keeps, because a row group is the smallest unit that can be read."""

from collections import OrderedDict

import numpy as np

from shattering.data.encoded import ParquetRows
from shattering.system.machine import require_memory

CACHE = 256 << 20  # encoded bytes of row groups that a process keeps


class RowGroups:
    """The encoded bytes of some rows. Of the row groups read, those that fit into `CACHE` are kept, at least one.

    Args:
        source: the Parquet files.
        rows: (n,) that will be asked for; of a row group only these are kept.
    """

    def __init__(self, source: ParquetRows, rows: np.ndarray):
        self.source = source
        self.wanted = np.sort(rows)
        self.kept: OrderedDict[int, tuple[np.ndarray, list[bytes]]] = OrderedDict()
        self.kept_bytes = 0

    def __getstate__(self) -> dict:
        return {**vars(self), "kept": OrderedDict(), "kept_bytes": 0}

    def read(self, row: int) -> bytes:
        """Return the encoded bytes of a row, b"" where it has none. Raises InputError if they cannot be read."""
        group = int(self.source.group_of(row))
        rows, values = self.kept.get(group) or self._keep(group)
        self.kept.move_to_end(group)
        return values[int(np.searchsorted(rows, row))]

    def _keep(self, group: int) -> tuple[np.ndarray, list[bytes]]:
        """Read the wanted rows of a row group, and forget those used longest ago if there are too many bytes."""
        first, last = np.searchsorted(self.wanted, self.source.starts[group : group + 2])
        rows = self.wanted[first:last]
        where = f"row group {self.source.groups[group, 1]} of {self.source.files[self.source.groups[group, 0]]}"
        require_memory(int(self.source.sizes[group]), where, "write it in smaller row groups")
        values = [value or b"" for value in self.source.read_group(group, rows)]
        self.kept[group] = rows, values
        self.kept_bytes += sum(map(len, values))
        while self.kept_bytes > CACHE and len(self.kept) > 1:
            self.kept_bytes -= sum(map(len, self.kept.popitem(last=False)[1][1]))
        return rows, values
