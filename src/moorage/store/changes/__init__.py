"""The revision and the change log, and what a reader has missed."""
