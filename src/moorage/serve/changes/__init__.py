"""The address for many clients that wait for changes: one process, one event loop, no thread for a client."""
