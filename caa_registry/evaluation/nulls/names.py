"""The nulls by name, apart from what computes them, so that the command line can list them at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from caa_registry.errors import UsageError
from caa_registry.wording import count

NullName = Literal["covariance", "isotropic", "shuffled"]
NULLS: tuple[NullName, ...] = ("covariance", "isotropic", "shuffled")
DRAWS = 199
"""So many vectors that a p-value can be as low as 1 / 200."""
FEWEST_DRAWS = 19


def check_nulls(names: Sequence[str], draws: int) -> None:
    """Raise ``UsageError`` for a null that does not exist, and for too few draws to reach p = 0.05."""
    for name in names:
        if name not in NULLS:
            raise UsageError(f"there is no control {name!r}", f"Choose of {', '.join(NULLS)}.")
    if names and draws < FEWEST_DRAWS:
        raise UsageError(
            f"with {count(draws, 'vector')} no p-value can be below {1 / (1 + draws):.2g}",
            f"Take at least {FEWEST_DRAWS}; {DRAWS} is the default.",
        )
