"""Tests of the values, commands and errors."""
