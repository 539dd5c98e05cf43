"""Connections of PyMySQL that do not read the system's certificates again and again."""

from __future__ import annotations

import ssl
from typing import Any, Final

from pymysql.connections import Connection

ENCRYPTING: Final = ("ssl", "read_default_file", "read_default_group")
"""Options of PyMySQL that say, or may say, how to encrypt; so do all that begin with the first and ``_``."""


def _verifying_nothing() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


VERIFYING_NOTHING: Final = _verifying_nothing()


def connected(*arguments: Any, **options: Any) -> Connection:
    """A connection as PyMySQL makes it. Raises its errors.

    Without options PyMySQL encrypts where the server can, and verifies no certificate. Yet it reads all
    certificates of the system for each such connection, which takes longer than all the rest of connecting.
    So these connections share one context.
    """
    if any(name in ENCRYPTING or name.startswith("ssl_") for name in options):
        return Connection(*arguments, **options)
    made = Connection(*arguments, **options, ssl=VERIFYING_NOTHING, defer_connect=True)
    # A context that was handed over would forbid to go on with a server that cannot encrypt.
    made._ssl_required = False
    made.connect()
    return made
