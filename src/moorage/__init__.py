"""Moorage: an inventory-and-claims service that speaks the OpenStack Placement API."""

__version__ = "0.1.0"
