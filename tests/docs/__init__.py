"""Documents do what they say: their commands run as printed, their links lead somewhere."""
