"""HTML from the templates in this folder; values are escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2


def rendered(template: str, **values: Any) -> str:
    """Return a template with its values filled in.

    Args:
        template: the name of a file in this folder.
        **values: the template's values; they are escaped, and a missing one is an error.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(**values)
