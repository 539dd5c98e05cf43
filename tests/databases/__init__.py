"""Tests of the store and of the service on every kind of database."""
