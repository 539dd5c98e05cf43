"""Commands that talk over HTTP to any running service with the Placement API."""
