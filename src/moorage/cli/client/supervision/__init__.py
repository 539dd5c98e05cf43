"""Runs a command that must not outlive what it holds."""
