"""Why a request finds nothing, or what it finds: counts, nearest misses and relaxations, on one snapshot."""
