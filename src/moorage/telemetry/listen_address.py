"""Addresses beside the API's: read before it is known whether they are served."""

from __future__ import annotations

from moorage.model.errors import ConfigurationError


def address_of(text: str, option: str = "metrics_listen") -> tuple[str, int]:
    """Host and port of ``127.0.0.1:9778`` or ``[::1]:9778``. Raises ConfigurationError."""
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ConfigurationError(f"[moorage] {option}: {text} is not HOST:PORT.")
    return host.strip("[]") or "127.0.0.1", int(port)
