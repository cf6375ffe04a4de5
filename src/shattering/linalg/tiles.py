"""The lower triangle of a symmetric matrix in square tiles: half the memory, and no array larger than a tile."""

from collections.abc import Callable

import torch
from torch import Tensor

from shattering.linalg.gram import Gram, slices, symmetric_product, widened

TILE = 5000  # rows and columns: 100 MB in float32, enough for products at full speed
_STRIP = 500  # rows at once of a product of which half is needed, by symmetry
_PIVOT = 32  # times rounding: what a pivot has to be above, in units of its diagonal entry; those of repeated points reach half of it


class NotPositiveDefinite(ArithmeticError):
    """A pivot of the factorization is not positive. row: row of the tile where this happened."""

    def __init__(self, row: int):
        super().__init__(f"the matrix is not positive definite in working precision (rows from {row})")
        self.row = row


class LowerTiles:
    """The tiles of gram + ridge I on and below the diagonal. `factorize` replaces them by those of the Cholesky factor."""

    def __init__(self, gram: Gram, ridge: float, dtype: torch.dtype):
        self.n, self.size = gram.n, TILE
        self.pieces = slices(gram.n, TILE)
        self.tiles = [[gram.block(rows, cols, dtype) for cols in self.pieces[: i + 1]] for i, rows in enumerate(self.pieces)]
        for row in self.tiles:
            row[-1].diagonal().add_(ridge)

    def product(self, vectors: Tensor) -> Tensor:
        """Return matrix @ vectors, (n, k) in the tiles' type."""
        return symmetric_product(
            lambda rows, cols: self.tiles[rows.start // self.size][cols.start // self.size], self.n, self.size, vectors
        )

    def factorize(self, on_column: Callable[[int, int], None] | None = None) -> None:
        """Factorize by Cholesky in place: matrix = L L'. on_column: is called with the columns of tiles done, and of how many.

        Raises NotPositiveDefinite, also where so little of a diagonal entry is left as a pivot that it may be rounding alone.
        """
        tiles, rounding = self.tiles, _PIVOT * torch.finfo(self.tiles[0][0].dtype).eps
        for j, row in enumerate(tiles):
            least = rounding * row[j].diagonal()
            for left in row[:j]:
                for strip in slices(len(left), _STRIP):  # on and below the diagonal, which is all that is read
                    row[j][strip, : strip.stop].addmm_(left[strip], left[: strip.stop].T, alpha=-1)
            row[j], info = torch.linalg.cholesky_ex(row[j])
            if info.item() or not bool((row[j].diagonal().square() > least).all()):
                raise NotPositiveDefinite(self.pieces[j].start)
            for below in tiles[j + 1 :]:
                for k in range(j):
                    below[j].addmm_(below[k], row[k].T, alpha=-1)
                below[j] = torch.linalg.solve_triangular(row[j], below[j].T, upper=False).T  # from the left is faster
            if on_column:
                on_column(j + 1, len(tiles))

    def solve(self, vectors: Tensor) -> Tensor:
        """Return the solution of L L' x = vectors, (n, k), after `factorize`; rounded to the tiles' type."""
        wide = widened(vectors.to(self.tiles[0][0].dtype))
        x = [wide[piece] for piece in self.pieces]
        for j, row in enumerate(self.tiles):
            for k in range(j):
                x[j] = x[j] - row[k] @ x[k]
            x[j] = torch.linalg.solve_triangular(row[j], x[j], upper=False)
        for j in reversed(range(len(self.tiles))):
            x[j] = torch.linalg.solve_triangular(self.tiles[j][j].T, x[j], upper=True)
            for k in range(j):
                x[k] = x[k] - self.tiles[j][k].T @ x[j]
        return torch.cat(x)[:, : vectors.shape[1]].to(vectors.dtype)

    def diagonal(self) -> Tensor:
        return torch.cat([row[-1].diagonal() for row in self.tiles])
