"""``moorage.wsgi:application`` for any WSGI server.

Options come from ``OS_PLACEMENT_CONFIG_DIR``, from the usual places of placement.conf and from
``OS_PLACEMENT_<GROUP>__<OPTION>``. A configuration that cannot work stops the import with a
ConfigurationError that says why; the database is reached at the first request of each process.
"""

from __future__ import annotations

from moorage.api.http.exchange import WsgiApplication
from moorage.serve.lazy_application import LazyApplication
from moorage.wiring.parts import build_application, set_up_logs
from moorage.wiring.settings import settings_of_process

_settings = settings_of_process()


def _build() -> WsgiApplication:
    set_up_logs(_settings)
    return build_application(_settings, listens=True)


application = LazyApplication(_build)
