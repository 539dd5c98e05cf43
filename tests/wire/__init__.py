"""The wire contract as the reference itself tests it."""
