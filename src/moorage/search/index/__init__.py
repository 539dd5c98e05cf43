"""The index: columns of providers, blocks of them, and all blocks."""
