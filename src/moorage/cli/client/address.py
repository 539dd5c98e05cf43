"""Which service a command talks to, and with which token."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import click

from moorage.model.valueclass import valueclass

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

DEFAULT_URL: Final = "http://127.0.0.1:8778"
"""The default address of ``moorage serve``."""

DEFAULT_TOKEN: Final = "admin"  # noqa: S105 - noauth2 takes any word; this one stands for an administrator.

URL_VARIABLE: Final = "MOORAGE_URL"
TOKEN_VARIABLE: Final = "MOORAGE_TOKEN"  # noqa: S105 - the name of a variable

_SCHEME: Final = re.compile("[A-Za-z][A-Za-z0-9+.-]*")

URL_KEY: Final = f"{__name__}.url"
TOKEN_KEY: Final = f"{__name__}.token"
"""Where click keeps both for the running command; options after the command override those before it."""


@valueclass(frozen=True, slots=True)
class Address:
    """A service. ``named_by`` is the option or variable that names it; empty for the default."""

    url: str
    token: str
    named_by: str

    def __str__(self) -> str:
        return f"Service: {self.url} ({self.named_by or 'the default'})"

    @property
    def options(self) -> tuple[str, ...]:
        """The options by which another command talks to the same service."""
        return ("--url", self.url) if self.named_by == "--url" else ()


def service_options(command: FunctionT) -> FunctionT:
    """Options --url and --token, which may stand before the command as well as behind it."""
    url = click.option(
        "--url",
        metavar="URL",
        expose_value=False,
        callback=_remember(URL_KEY),
        help="URL of the service, which may be any with the Placement API. HOST:PORT is enough.  "
        f"[env var: {URL_VARIABLE}; default: {DEFAULT_URL}]",
    )
    token = click.option(
        "--token",
        metavar="TOKEN",
        expose_value=False,
        callback=_remember(TOKEN_KEY),
        help=f"The token to send.  [env var: {TOKEN_VARIABLE}; default: {DEFAULT_TOKEN}]",
    )
    return url(token(command))


def _remember(key: str) -> Callable[[click.Context, click.Parameter, str | None], None]:
    def remember(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            context.meta[key] = value

    return remember


def address_of(context: click.Context) -> Address:
    """The service that the command line, the environment or the default names. Raises BadParameter."""
    token = context.meta.get(TOKEN_KEY) or os.environ.get(TOKEN_VARIABLE) or DEFAULT_TOKEN
    for named_by, url in (("--url", context.meta.get(URL_KEY)), (URL_VARIABLE, os.environ.get(URL_VARIABLE))):
        if url:
            return Address(service_url(url, named_by), token, named_by)
    return Address(DEFAULT_URL, token, "")


def is_told(context: click.Context) -> bool:
    """Whether the command line names a service or a token."""
    return any(context.meta.get(key) for key in (URL_KEY, TOKEN_KEY))


def service_url(text: str, named_by: str) -> str:
    """The URL of a service from ``text``, which may be HOST:PORT. Raises BadParameter."""
    url = text.strip()
    scheme, separator, _ = url.partition("://")
    url = (url if separator and _SCHEME.fullmatch(scheme) else f"http://{url}").rstrip("/")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise click.BadParameter(
            f"'{text}' is not the address of a service, such as {DEFAULT_URL} or 127.0.0.1:8778.",
            param_hint=named_by,
        )
    return url
