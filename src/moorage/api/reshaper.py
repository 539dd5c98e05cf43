"""``/reshaper``."""

from __future__ import annotations

from moorage.api.allocations import decode_claims
from moorage.api.exchange import Answer, Call
from moorage.api.inventories import decode_all
from moorage.model.commands import NewInventories, Reshape


def reshape(call: Call) -> Answer:
    """Change inventories and move what is held of them, at once."""
    inventories = {
        uuid: NewInventories(
            generation=int(item["resource_provider_generation"]),
            inventories=decode_all(item["inventories"]),
        )
        for uuid, item in call.body["inventories"].items()
    }
    claims = decode_claims(call.body["allocations"], call.minor, call.settings)
    call.service.execute(Reshape(inventories, claims), call.requester)
    return Answer(204)
