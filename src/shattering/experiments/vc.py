"""What fitting random labelings says of the VC dimension."""

from scipy import stats

from shattering.errors import InputError


def vc_lower_bound(n: int, n_fitted: int, n_draws: int, level: float = 0.95) -> int:
    """A lower bound, at this confidence, on the VC dimension of what a model can reach, from random binary labels.

    If a class takes more than a share p of all 2^n labelings of n points, its VC dimension v satisfies
    sum_{i<=v} C(n, i) >= p 2^n (Sauer and Shelah); p is bounded from below by the draws that were fitted exactly
    (Clopper and Pearson). Fitting every draw of a few gives about n/2, as more than half of all labelings then are
    within reach, and never more than n: shattering itself would need all 2^n.

    The class is what this training finds within its budget, from this initialization; the network's own may be larger.

    Args:
        n: examples.
        n_fitted: draws fitted exactly.
        n_draws: of random labels.
        level: in 0…1.

    Raises:
        InputError: for numbers out of range.
    """
    if not (n >= 1 and n_draws >= 1 and 0 <= n_fitted <= n_draws):
        raise InputError(f"n is {n} and {n_fitted} of {n_draws} draws were fitted, expected n >= 1 and 0 <= n_fitted <= n_draws >= 1")
    share = float(stats.beta.ppf(1 - level, n_fitted, n_draws - n_fitted + 1)) if n_fitted else 0.0
    # the smallest v with P[Binomial(n, 1/2) <= v] >= share
    return max(0, int(stats.binom.ppf(share, n, 0.5))) if share else 0
