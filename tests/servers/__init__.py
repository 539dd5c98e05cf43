"""Throw-away database servers for the tests, started from the binaries that are installed."""
