"""HTML from the templates that lie in this folder; whatever is put into them is data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2


def rendered(template: str, **values: Any) -> str:
    """The template of that name with its values filled in, escaped; a value that it lacks is an error.

    Args:
        template: a file name in this folder.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(**values)
