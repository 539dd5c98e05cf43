"""Values and errors: what every room speaks of. Standard library only."""
