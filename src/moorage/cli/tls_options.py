"""The options of ``moorage serve`` about TLS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from moorage.serve.tls import PROTOCOLS

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def tls_options(command: FunctionT) -> FunctionT:
    """Options of TLS; ``tls_from`` makes a ``Tls`` of them."""
    file = click.Path(path_type=Path, dir_okay=False)
    decorators = (
        click.option(
            "--tls-certificate",
            type=file,
            metavar="FILE",
            help="Serve HTTPS with this certificate and its intermediate ones (PEM).",
        ),
        click.option(
            "--tls-key",
            type=file,
            metavar="FILE",
            help="Private key of the certificate (PEM, PKCS#8).",
        ),
        click.option(
            "--tls-client-ca",
            type=file,
            metavar="FILE",
            help="Accept only clients with a certificate of this authority (PEM).",
        ),
        click.option(
            "--tls-minimum",
            type=click.Choice(list(PROTOCOLS)),
            default="1.2",
            show_default=True,
            help="Oldest version of TLS to accept.",
        ),
    )
    for decorator in reversed(decorators):
        command = decorator(command)
    return command
