"""``moorage``, whose streams of ``changes_listen`` look at their tokens every second, not every minute."""

from __future__ import annotations

from moorage.cli.main import main
from moorage.serve.changes import application

# The processes that the service starts read this module too.
application.CHECK_SECONDS = 1.0  # type: ignore[misc]

if __name__ == "__main__":
    main()
