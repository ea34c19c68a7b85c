"""How many examples a property is tried on: few in `make test`, many in `make test-all`.

The profile is chosen as Hypothesis has it: `pytest --hypothesis-profile=many`.
"""

from __future__ import annotations

from hypothesis import settings

_USUAL = 100
"""Examples of the profile `few`, which is Hypothesis' own default."""


def examples(count: int) -> settings:
    """Return settings of `count` examples, times 20 under the profile `many`.

    The examples of `few` are the same in each run; those of `many` are new ones.
    """
    profile = settings()
    return settings(
        deadline=None,
        max_examples=count * profile.max_examples // _USUAL,
        derandomize=profile.max_examples == _USUAL,
        database=None,
    )
