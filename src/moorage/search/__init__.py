"""Pure search: an index of all providers in columns, and candidates found in it."""
