"""Answers to browsers on pages of other origins (CORS), if ``[cors] allowed_origin`` names any.

Source: oslo.middleware, which Placement has in the same place, before authentication.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from oslo_config import cfg
from oslo_middleware import cors

from moorage.api.http.exchange import WsgiApplication

GROUP: Final = "cors"

OPTIONS: Final[Sequence[cfg.Opt]] = cors.OPTS


def with_cors(application: WsgiApplication, conf: cfg.ConfigOpts) -> WsgiApplication:
    """``application`` with CORS headers for the origins in ``conf``; unchanged if there are none."""
    conf.register_opts(OPTIONS, group=GROUP)
    if not conf[GROUP].allowed_origin:
        return application
    opened: WsgiApplication = cors.CORS(application, conf)
    return opened
