"""One database, served by the reference and by Moorage in turn."""
