"""``/allocation_candidates``."""

from __future__ import annotations

from moorage.api import candidate_body, candidate_query
from moorage.api.exchange import Answer, Call


def list_(call: Call) -> Answer:
    """Ways to serve a request."""
    request = candidate_query.request(call.query, call.minor)
    result = call.service.candidates(request)
    body = result.texts.get(call.minor)
    if body is None:
        requested = frozenset(name for group in request.groups for name in group.resources)
        body = result.texts[call.minor] = candidate_body.encoded(result, requested, call.minor)
    return Answer(body=body, dated=True)
