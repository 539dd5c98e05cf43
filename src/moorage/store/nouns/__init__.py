"""What the account consists of: one module for each noun, with all its SQL.

Each module holds its statements, its part of reading a ``State`` and of writing the difference, its queries
for GETs, and its rows for an audit. Only the queries of what consumers hold stand apart, in ``usages``.
``order`` lists the nouns in the order in which a transaction takes them.
"""
