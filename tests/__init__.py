"""The tests of Moorage."""
