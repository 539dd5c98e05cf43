"""Answers to browsers on pages of other origins (CORS), where ``[cors] allowed_origin`` names any.

Source: oslo.middleware, which Placement has in the same place: before it is asked who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from oslo_config import cfg
from oslo_middleware import cors

GROUP: Final = "cors"

OPTIONS: Final[Sequence[cfg.Opt]] = cors.OPTS

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def with_cors(application: WsgiApplication, conf: cfg.ConfigOpts) -> WsgiApplication:
    """``application``, open to pages of the origins in ``conf``; itself if there are none."""
    conf.register_opts(OPTIONS, group=GROUP)
    if not conf[GROUP].allowed_origin:
        return application
    opened: WsgiApplication = cors.CORS(application, conf)
    return opened
