"""Clients that others released, driving Moorage."""
