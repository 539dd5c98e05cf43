"""``/allocation_candidates``."""

from __future__ import annotations

from moorage.api import candidate_body, candidate_query
from moorage.api.exchange import Answer, Call


def list_(call: Call) -> Answer:
    """Ways to serve a request."""
    request = candidate_query.request(call.query, call.minor)
    requested = frozenset(name for group in request.groups for name in group.resources)
    result = call.service.candidates(request)
    return Answer(body=candidate_body.encoded(result, requested, call.minor), dated=True)
