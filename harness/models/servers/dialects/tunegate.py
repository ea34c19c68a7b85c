"""`tunegate serve`: `/tokenize` renders messages with the chat template of the arm."""

from __future__ import annotations

from tunegate.harness.models.servers.dialect import TokenizingDialect

ORDER = 50


class TunegateServe(TokenizingDialect):
    """The endpoint of `tunegate serve`, which answers chats only."""

    name = "tunegate serve"
    owner = "tunegate"
    takes_raw_prompts = False


DIALECT = TunegateServe()
