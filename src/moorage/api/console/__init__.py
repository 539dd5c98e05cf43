"""The console: pages for browsers that ask the two APIs."""
