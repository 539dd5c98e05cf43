"""Prepared databases and services for all tests of this folder."""

from __future__ import annotations

from tests.databases.prepared import *  # noqa: F403 - fixtures are found by their names here
