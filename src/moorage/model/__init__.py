"""Values and errors that all rooms share. Standard library only."""
