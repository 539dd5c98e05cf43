"""Keystone's own application on a loopback port, in a process of its own.

Started as ``python -m tests.keystone.process PORT`` with OS_KEYSTONE_CONFIG_DIR set.
"""

from __future__ import annotations

import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server


class Server(ThreadingMixIn, WSGIServer):
    """One thread for each connection."""

    daemon_threads = True


class Quiet(WSGIRequestHandler):
    """Logs no request."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


def main() -> None:
    """Serve until killed."""
    port = int(sys.argv[1])
    # Keystone reads the command line of whatever process it is in.
    sys.argv = sys.argv[:1]
    from keystone.wsgi.api import application

    make_server("127.0.0.1", port, application, Server, Quiet).serve_forever()


if __name__ == "__main__":
    main()
