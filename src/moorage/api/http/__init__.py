"""What any HTTP API needs, whatever it is about: sizes, bodies, identities, errors, observers."""
