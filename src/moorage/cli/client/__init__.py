"""Commands that talk to a running service over HTTP: any that speaks the Placement API."""
