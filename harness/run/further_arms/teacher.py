"""Teacher: the model that tuned is to replace, of any family, with a prompt of its own."""

from __future__ import annotations

from tunegate.harness.contracts.further_arm import TEACHER, FurtherArm

ORDER = 15

teacher = FurtherArm(
    name=TEACHER,
    help="Model spec of the model that tuned is to replace; any backend and any family, recorded "
    'answers too. Gates compare with it by against = "teacher".',
    same_as_base="base cannot be the model that its own fine-tune replaces",
    reference=True,
    other_model=True,
)
