"""What Placement's own script calls."""

from __future__ import annotations

from typing import Any


def init_application() -> Any:
    """The application, which takes its options from the environment."""
    from moorage.wsgi import application

    return application
