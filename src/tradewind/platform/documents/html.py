"""A paper as a page: one file without anything beside it, light and dark, and it prints well."""

from functools import lru_cache
from pathlib import Path

import jinja2

from tradewind.platform.documents.paper import Paper

TEMPLATES = Path(__file__).parent


@lru_cache(maxsize=1)
def template() -> jinja2.Template:
    """The page; everything put into it is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("paper.html.jinja")


def render(paper: Paper) -> bytes:
    """The page as UTF-8."""
    return template().render(paper=paper).encode()
