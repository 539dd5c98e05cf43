"""Asks Nova through keystoneauth1, with the variables that OpenStack's clients read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from keystoneauth1 import exceptions, loading
from keystoneauth1.adapter import Adapter
from keystoneauth1.session import Session

from moorage.cli.client.sources.nova import MICROVERSION, Ask, NovaError

TIMEOUT_SECONDS: Final = 120.0
"""A page of a thousand servers of many cells takes long."""

_TYPE: Final = "OS_AUTH_TYPE"
_USUAL_TYPE: Final = "password"


def asking(environment: Mapping[str, str]) -> Ask:
    """Asks the Nova that OS_AUTH_URL and the other variables lead to. Raises NovaError."""
    adapter = _adapter(environment)

    def ask(path: str, query: Mapping[str, str]) -> Mapping[str, Any]:
        try:
            answer = adapter.get(path, params=dict(query), microversion=MICROVERSION)
            found = answer.json()
        except exceptions.ClientException as error:
            raise NovaError(f"it cannot be asked for {path}: {error}") from error
        except ValueError as error:
            raise NovaError(f"the answer to {path} is no JSON") from error
        if not isinstance(found, dict):
            raise NovaError(f"the answer to {path} is no object")
        return found

    return ask


def _adapter(environment: Mapping[str, str]) -> Adapter:
    try:
        loader: Any = loading.get_plugin_loader(environment.get(_TYPE, _USUAL_TYPE))
        auth = loader.load_from_options_getter(_option_from(environment))
    except exceptions.ClientException as error:
        raise NovaError(
            f"{error}. Set OS_AUTH_URL, OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME and the domains, as for "
            "the command openstack."
        ) from error
    verify: bool | str = environment.get("OS_CACERT") or True
    return Adapter(
        Session(auth=auth, verify=verify, timeout=TIMEOUT_SECONDS),
        service_type="compute",
        interface=environment.get("OS_INTERFACE", "public"),
        region_name=environment.get("OS_REGION_NAME"),
        endpoint_override=environment.get("OS_COMPUTE_ENDPOINT_OVERRIDE"),
    )


def _option_from(environment: Mapping[str, str]) -> Callable[[Any], str | None]:
    """The value of an option of a plugin: the variable of its name, or of one of its older names."""

    def value(option: Any) -> str | None:
        names = [option.dest, *(each.dest for each in option.deprecated)]
        return next(
            (environment[name] for each in names if (name := f"OS_{each.upper()}") in environment), None
        )

    return value
