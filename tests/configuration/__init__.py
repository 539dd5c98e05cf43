"""Configuration and servers as operators have them."""
