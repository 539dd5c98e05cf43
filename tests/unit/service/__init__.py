"""Tests of the service that need no database server."""
