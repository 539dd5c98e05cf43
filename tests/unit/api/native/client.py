"""Asks the native application without a network."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from oslo_config import cfg

from moorage.api.http.settings import Limits
from moorage.api.native.application import create
from moorage.api.placement.query import newest_request
from moorage.auth.identity import Authenticator
from moorage.auth.noauth import NoAuth
from moorage.auth.policy import GROUP, OPTIONS, OsloPolicy, Policy
from moorage.service.facade import Service
from tests.unit.api.fake import Client, Result, SharedApplication, usual_policy


@lru_cache
def shared_native_application(
    limits: Limits | None, authenticator: Authenticator | None, policy: Policy | None
) -> SharedApplication:
    """The one with all of these, or with what is usual."""
    return SharedApplication(
        lambda service: create(
            service, newest_request, limits or Limits(), authenticator or NoAuth(), policy or usual_policy()
        )
    )


class NativeClient(Client):
    """As ``Client``: somebody who may do all. No request names a microversion."""

    def __init__(
        self,
        service: Service,
        limits: Limits | None = None,
        authenticator: Authenticator | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.app = shared_native_application(
            limits, cast(Hashable, authenticator), cast(Hashable, policy)
        ).on(service)

    def get(self, path: str, **headers: str | None) -> Result:
        """A GET; underscores in names of ``headers`` stand for hyphens."""
        return self.ask("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})

    def post(self, path: str, value: object) -> Result:
        """A POST of JSON."""
        return self.ask("POST", path, value=value)


def policy_of(folder: Path, rules: Mapping[str, str]) -> Policy:
    """The policy of an operator whose file has these rules."""
    path = folder / "policy.yaml"
    path.write_text(json.dumps(rules))
    conf = cfg.ConfigOpts()
    conf(args=[], project="placement", default_config_files=[], default_config_dirs=[])
    conf.register_opts(OPTIONS, group=GROUP)
    conf.set_override("policy_file", str(path), group=GROUP)
    conf.set_override("policy_dirs", [], group=GROUP)
    return OsloPolicy(conf)


def problem(result: Result) -> Any:
    """The body of a refusal, which has to be a problem."""
    assert result.headers["content-type"] == "application/problem+json", result
    body = json.loads(result.body)
    assert body["status"] == result.status
    assert body["request_id"] == result.headers["x-openstack-request-id"]
    assert body["type"].endswith(f"/moorage/v1/problems/{body['code'].replace('_', '-')}")
    assert {"title", "detail", "outcome", "retry"} <= body.keys()
    return body
