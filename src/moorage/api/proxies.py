"""Behind a proxy that ends TLS or adds a prefix: who the client thinks it is speaking to.

Source: oslo.middleware, as in Placement: ``[oslo_middleware] enable_proxy_headers_parsing`` takes scheme,
host and prefix from ``X-Forwarded-…`` and ``Forwarded``. Off by default: a client could send them too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from oslo_config import cfg
from oslo_middleware import http_proxy_to_wsgi

GROUP: Final = "oslo_middleware"

OPTIONS: Final[Sequence[cfg.Opt]] = http_proxy_to_wsgi.OPTS

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def behind_proxy(application: WsgiApplication, conf: cfg.ConfigOpts) -> WsgiApplication:
    """``application``, told what the proxy knows if ``conf`` says so; itself otherwise."""
    conf.register_opts(OPTIONS, group=GROUP)
    if not conf[GROUP].enable_proxy_headers_parsing:
        return application
    told: WsgiApplication = http_proxy_to_wsgi.HTTPProxyToWSGI(application, conf)
    return told
