"""Read by every Python process of a service under test: wrong clocks, and faults built in on purpose."""

from __future__ import annotations

import os
from pathlib import Path

if os.environ.get("MOORAGE_FAULTS_CLOCK"):
    from tests.faults.child import clock

    clock.install(os.environ["MOORAGE_FAULTS_CLOCK"])

if os.environ.get("MOORAGE_FAULTS_SABOTAGE"):
    from tests.faults.child import sabotage

    sabotage.build_in(os.environ["MOORAGE_FAULTS_SABOTAGE"], Path(os.environ["MOORAGE_FAULTS_ARMED"]))
