"""The page's sections, one a module: `TITLE`, `ORDER`, `render(data) -> Markup`, and a template."""
