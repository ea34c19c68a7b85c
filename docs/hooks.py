"""What the site does to its pages: links into the repository become the names of files.

The pages are also read where they lie, in the repository, and link to its examples and sources. The
site holds the pages alone, so there such a link says where to look instead of leading nowhere.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?!\w+://|mailto:|#)[^)\s#]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Return the page with links out of `docs/` written as text [mkdocs]."""
    docs = Path(config["docs_dir"]).resolve()
    folder = (docs / page.file.src_uri).parent

    def written(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        if target.is_relative_to(docs) and target.is_file() and target.suffix != ".py":
            return link[0]
        return f"{link[1]} (`{target.relative_to(docs.parent)}`)"

    return _LINK.sub(written, markdown)
