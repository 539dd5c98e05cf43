"""The Placement API: its operations, microversions, grammar and texts."""
