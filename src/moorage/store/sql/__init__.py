"""How a database is reached: engines, statements in each database's words, and errors."""
