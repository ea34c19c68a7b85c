"""The environment of the suite: an order desk, in the form that TRL's GRPO trains with."""

from __future__ import annotations

STATES = {
    "lost": "was lost",
    "broken": "arrived broken",
    "on its way": "is on its way",
    "delivered": "was delivered",
}
"""State of an order → what the desk says of it; money and goods are due for the first two alone."""


class OrderDesk:
    """One customer, one order; the desk pays back or sends again what was lost or broken."""

    def reset(self, order: str, state: str, wish: str) -> None:
        """Begin with an order, its state, and what the customer wishes: money, goods or news."""
        self.order, self.state, self.wish = order, state, wish
        self.seen = False
        self.done: list[tuple[str, str]] = []

    def find(self, order: str) -> str:
        """Look an order up.

        Args:
            order: Order number.
        """
        if order != self.order:
            raise ValueError(f"no order {order}")
        self.seen = True
        return f"{order} {STATES[self.state]}"

    def refund(self, order: str) -> str:
        """Pay an order back. Only if it was lost or broken.

        Args:
            order: Order number.
        """
        return self._act("refund", order)

    def resend(self, order: str) -> str:
        """Send an order again. Only if it was lost or broken.

        Args:
            order: Order number.
        """
        return self._act("resend", order)

    def _act(self, action: str, order: str) -> str:
        if order != self.order:
            raise ValueError(f"no order {order}")
        self.done.append((action, order))
        return "done"

    @property
    def _due(self) -> list[tuple[str, str]]:
        """The actions of a right answer."""
        action = {"money": "refund", "goods": "resend"}.get(self.wish)
        if action is None or self.state not in ("lost", "broken"):
            return []
        return [(action, self.order)]

    def get_reward(self) -> float:
        """Return 1 if the order was looked up and exactly what is due was done.

        What was done and is not due costs -1, as money that is paid does not come back; looking up
        alone is worth 0.2.
        """
        if self.done not in ([], self._due):
            return -1.0
        if not self.seen:
            return 0.0
        return 1.0 if self.done == self._due else 0.2

    def _stats(self) -> dict[str, int]:
        return {"actions": len(self.done)}
