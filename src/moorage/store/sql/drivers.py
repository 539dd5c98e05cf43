"""Whether something belongs to a driver, without importing the driver.

A process imports the driver of its own database only: each takes a twentieth of the time that a process needs
to start. An object of a driver's class exists only where that driver has been imported.
"""

from __future__ import annotations

import sys
from typing import Final

PSYCOPG: Final = "psycopg"
PYMYSQL: Final = "pymysql"


def is_from(found: object, driver: str, *classes: str) -> bool:
    """Whether ``found`` is an instance of one of the ``classes``, by name, of the module ``driver``."""
    module = sys.modules.get(driver)
    # Another thread may be importing it: what is not there yet has no instances.
    return module is not None and isinstance(found, tuple(getattr(module, name, ()) for name in classes))


def has_pipeline(connection: object) -> bool:
    """Whether a connection can send several statements to PostgreSQL before it reads an answer."""
    import psycopg

    return isinstance(connection, psycopg.Connection) and psycopg.Pipeline.is_supported()
