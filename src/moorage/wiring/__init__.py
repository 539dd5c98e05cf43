"""From options to parts that work together: settings, and the one place where they are put together."""
