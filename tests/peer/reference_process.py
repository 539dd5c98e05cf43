"""The reference, alone in a process of its own: it has globals, and logs and warns as it likes.

Started as ``python -m tests.peer.reference_process DATABASE_FILE [CONFIGURATION_FILE]``; without a
configuration it believes every client, and lets the role admin do all. It takes pickled orders on its
standard input and gives one pickled result for each on its standard output.
"""

from __future__ import annotations

import os
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any, BinaryIO

from tests.peer.exchange import call


def start(database: Path, configuration: Path | None = None) -> tuple[Any, Any]:
    """The reference's options and its WSGI application, on a database that it makes."""
    from oslo_config import cfg
    from placement import conf as options
    from placement import db_api, deploy
    from placement.db.sqlalchemy import migration

    conf = cfg.ConfigOpts()
    options.register_opts(conf)
    conf.set_override("connection", f"sqlite:///{database}", group="placement_database")
    files = [] if configuration is None else [str(configuration)]
    conf([], default_config_files=files, default_config_dirs=[])
    conf.set_override("sqlite_synchronous", False, group="placement_database")
    if configuration is None:
        conf.set_override("auth_strategy", "noauth2", group="api")
        conf.set_override("enforce_new_defaults", False, group="oslo_policy")
    db_api.configure(conf)
    migration.upgrade("head")
    return conf, deploy.loadapp(conf)


def set_policy(conf: Any, new_defaults: bool) -> None:
    """Whether the old defaults of the policy count no more."""
    from placement import policy

    if conf.oslo_policy.enforce_new_defaults != new_defaults:
        conf.set_override("enforce_new_defaults", new_defaults, group="oslo_policy")
        policy.reset()
        policy.init(conf)


def close_database() -> None:
    """Let go of the database file, so that another can take its place."""
    from placement import db_api

    db_api.get_placement_engine().dispose()


def serve(database: Path, orders: BinaryIO, results: BinaryIO, configuration: Path | None = None) -> None:
    """Carry out orders until there are none."""
    conf, application = start(database, configuration)
    close_database()
    pristine = database.with_suffix(".pristine")
    shutil.copy(database, pristine)
    pickle.dump("ready", results)
    results.flush()
    while True:
        try:
            order = pickle.load(orders)
        except EOFError:
            return
        result: object = None
        if order == "reset":
            close_database()
            shutil.copy(pristine, database)
        else:
            conf.set_override("max_allocation_candidates", order.max_candidates, group="placement")
            set_policy(conf, order.new_defaults)
            result = call(application, order)
        pickle.dump(result, results)
        results.flush()


def main() -> None:
    """Keep the standard output for results; whatever else is written goes to the log."""
    results = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    database, *configuration = map(Path, sys.argv[1:])
    # What the reference's libraries make of a command line is none of their business.
    sys.argv = sys.argv[:1]
    serve(database, sys.stdin.buffer, results, *configuration)


if __name__ == "__main__":
    main()
