"""HTML from the templates in this folder; values are escaped."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from mergekit_calib.report.text.safe_text import printable


def rendered(template: str, **values: Any) -> str:
    """Return a template with its values filled in, as printable text.

    Args:
        template: the name of a file in this folder.
        **values: the template's values; they are escaped, and a missing one is an error.
    """
    return _environment().get_template(template).render(**values)


@cache  # so that each template is compiled once, though the page is written after every point
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
