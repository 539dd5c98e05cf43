"""Candidates in order: what a tree scores for a request, and which trees score best."""
