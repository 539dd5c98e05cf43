"""Use cases: own the transactions, the committer and the live index."""
