"""Against a real Keystone."""
