"""Answers to browsers on pages of other origins (CORS), if ``[cors] allowed_origin`` names any.

Source: oslo.middleware, which Placement has in the same place, before authentication. It is imported only if
it is used, because it imports every other middleware, with templates and traces. So its options are declared
here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from oslo_config import cfg

from moorage.api.http.exchange import WsgiApplication

GROUP: Final = "cors"

OPTIONS: Final[Sequence[cfg.Opt]] = (
    cfg.ListOpt(
        "allowed_origin",
        help="Origins whose pages may read answers, each SCHEME://HOST[:PORT] without a final slash, for "
        "example https://horizon.example.com. Empty: none.",
    ),
    cfg.BoolOpt("allow_credentials", default=True, help="Whether such a page may send credentials."),
    cfg.ListOpt("expose_headers", default=[], help="Headers of an answer that such a page may read."),
    cfg.IntOpt(
        "max_age", default=3600, help="Seconds for which a browser may remember the answer to a preflight."
    ),
    cfg.ListOpt(
        "allow_methods",
        default=["OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "PATCH"],
        help="Methods that such a page may use.",
    ),
    cfg.ListOpt("allow_headers", default=[], help="Headers that such a page may send."),
)
"""oslo.middleware's options, with their names, types and defaults; a test compares them."""


def with_cors(application: WsgiApplication, conf: cfg.ConfigOpts) -> WsgiApplication:
    """``application`` with CORS headers for the origins in ``conf``; unchanged if there are none."""
    conf.register_opts(OPTIONS, group=GROUP)
    if not conf[GROUP].allowed_origin:
        return application
    from oslo_middleware import cors

    # The library would register its own options in ``conf``, where these have their names already.
    own = cfg.ConfigOpts()
    own.register_opts(cors.OPTS, group=GROUP)
    for option in OPTIONS:
        own.set_override(option.dest, conf[GROUP][option.dest], group=GROUP)
    opened: WsgiApplication = cors.CORS(application, own)
    return opened
