"""The native API, ``/moorage/v1``: what Placement's wire cannot say. It knows nothing of that wire."""
