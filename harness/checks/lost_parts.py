"""Lost parts: what base's weight files hold, and a fine-tune's do not.

Transformers loads a text model without the heads that draft several tokens and without a vision
tower, and a training then saves it without them. No score shows that; a server that drafts with
them, or is sent an image, fails later.
"""

from __future__ import annotations

from tunegate.harness.contracts.model import Arm, LocalArm
from tunegate.harness.models._weight_parts import lost_parts


def lost_parts_warning(base: Arm, arm: Arm) -> str:
    """Return which parts of base's files are in none of an arm's; "" if none is lost."""
    if not (isinstance(base, LocalArm) and isinstance(arm, LocalArm)):
        return ""
    before, after = (getattr(getattr(one, "loaded", None), "folder", None) for one in (base, arm))
    if before is None or after is None or before == after:
        return ""
    lost = list(lost_parts(before, after))
    if not lost:
        return ""
    return (
        f"its files lack {', '.join(lost[:3])}{' …' if len(lost) > 3 else ''} of base: "
        "the training saved the model without; copy these tensors if a server needs them, for "
        "drafting (MTP) or images"
    )
