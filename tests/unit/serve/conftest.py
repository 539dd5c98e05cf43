from tests.databases.prepared import *  # noqa: F403 - fixtures are found by their names here
from tests.unit.unconfigured import _nothing_configured, default_database, etc, home, sqlite_template

__all__ = ["_nothing_configured", "default_database", "etc", "home", "sqlite_template"]
