"""Decisions without I/O: each rule of the account exists here once."""
