"""Tests of the store that need no database server."""
