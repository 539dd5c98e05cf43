"""Behind a proxy that ends TLS or adds a prefix: the address under which the client asked.

Source: oslo.middleware: ``[oslo_middleware] enable_proxy_headers_parsing`` takes scheme, host and prefix from
``X-Forwarded-…`` and ``Forwarded``. Off by default: a client could send them too. The library is imported
only if it is used, as for CORS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from oslo_config import cfg

from moorage.api.http.exchange import WsgiApplication

GROUP: Final = "oslo_middleware"

ENABLED: Final = "enable_proxy_headers_parsing"

OPTIONS: Final[Sequence[cfg.Opt]] = (
    cfg.BoolOpt(
        ENABLED,
        default=False,
        help="Whether a proxy in front sets Forwarded or X-Forwarded-... headers and drops those of clients.",
    ),
)
"""oslo.middleware's option, with its name, type and default; a test compares them."""

SCHEMES: Final = frozenset({"http", "https"})

_SERVED_BY: Final = "moorage.scheme"
"""Key of the environ: the scheme of the connection itself."""


def behind_proxy(application: WsgiApplication, conf: cfg.ConfigOpts) -> WsgiApplication:
    """``application``, with the client's scheme, host and prefix if ``conf`` enables that."""
    conf.register_opts(OPTIONS, group=GROUP)
    if not conf[GROUP][ENABLED]:
        return application
    from oslo_middleware import http_proxy_to_wsgi

    own = cfg.ConfigOpts()
    own.register_opts(http_proxy_to_wsgi.OPTS, group=GROUP)
    own.set_override(ENABLED, True, group=GROUP)
    told: WsgiApplication = http_proxy_to_wsgi.HTTPProxyToWSGI(_nearest_to_the_client(application), own)

    def with_own_scheme(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ[_SERVED_BY] = environ["wsgi.url_scheme"]
        return told(environ, start_response)

    return with_own_scheme


def _nearest_to_the_client(application: WsgiApplication) -> WsgiApplication:
    """Each of several proxies in a row appends to these headers; the first entry is the client's."""

    def chosen(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        scheme = _first(environ["wsgi.url_scheme"]).lower()
        environ["wsgi.url_scheme"] = scheme if scheme in SCHEMES else environ[_SERVED_BY]
        environ["HTTP_HOST"] = _first(environ.get("HTTP_HOST", ""))
        return application(environ, start_response)

    return chosen


def _first(values: str) -> str:
    return values.partition(",")[0].strip().strip('"')
