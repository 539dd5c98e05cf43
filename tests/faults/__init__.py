"""Faults on purpose: clients that record, a nemesis that breaks things, and an auditor that replays."""
