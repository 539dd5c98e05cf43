"""The file of profiles: orders of candidates that operators name. It is read again when it changes."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml

from moorage.api.http.validation import BODY_FORMATS, Schema, Validator
from moorage.api.http.wire_error import WireError
from moorage.api.native import orders, strict
from moorage.model.errors import ConfigurationError
from moorage.model.orders import NO_PROFILES, Profiles

LOOK_SECONDS: Final = 1.0
"""How long a look at the file holds."""

MOST_BYTES: Final = 1_000_000

_log = logging.getLogger(__name__)

SCHEMA: Final[Schema] = {
    "type": "object",
    "properties": {
        "default": orders.PROFILE_NAME,
        "profiles": {
            "type": "object",
            "patternProperties": {orders.PROFILE_NAME["pattern"]: orders.PROFILE_SCHEMA},
            "additionalProperties": False,
        },
    },
    "required": ["profiles"],
    "additionalProperties": False,
}

_VALIDATOR: Final = Validator(SCHEMA, BODY_FORMATS)


def read(path: Path, required: str | None = None) -> Profiles:
    """The profiles of a file, which must have the profile ``required``. Raises ConfigurationError."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"The file of profiles {path} cannot be read: {error.strerror}.") from error
    if len(content) > MOST_BYTES:
        raise ConfigurationError(f"The file of profiles {path} is larger than {MOST_BYTES} bytes.")
    try:
        # By way of JSON, so that keys are text and all values are of JSON's types.
        data = json.loads(json.dumps(yaml.safe_load(content), default=str, allow_nan=False))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        said = " ".join(str(error).split())
        raise ConfigurationError(f"{path} cannot be understood: {said}") from error
    try:
        found = _profiles(data)
    except WireError as error:
        place = error.extra.get("pointer") or "/"
        raise ConfigurationError(f"{path}: {place}: {error.message}") from error
    for name in (found.default, required):
        if name is not None and name not in found.orders:
            raise ConfigurationError(f"{path} has no profile {name}.")
    return found


def _profiles(data: Any) -> Profiles:
    strict.check(data, _VALIDATOR)
    return Profiles(
        {
            name: orders.decode_profile(given, name, ("profiles", name))
            for name, given in data["profiles"].items()
        },
        data.get("default"),
    )


class ProfilesFile:
    """The profiles of a file as it is now. Safe for several threads.

    While a changed file cannot be understood, the previous profiles stay in force.
    """

    def __init__(
        self, path: Path, required: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``required`` names a profile that must be there. Raises ConfigurationError."""
        self._path = path
        self._required = required
        self._clock = clock
        self._lock = threading.Lock()
        self._stamp = self._look()
        self._look_at = clock() + LOOK_SECONDS
        self._profiles = read(path, required)

    def present(self) -> Profiles:
        """The profiles that are in force now."""
        now = self._clock()
        if now >= self._look_at:
            # First, so that threads that come meanwhile do not look as well.
            self._look_at = now + LOOK_SECONDS
            with self._lock:
                self._read_if_changed()
        return self._profiles

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read_if_changed(self) -> None:
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._profiles = read(self._path, self._required)
        except ConfigurationError as error:
            _log.error("The previous profiles stay in force. %s", error)
        else:
            _log.warning("The profiles were read again: %s", self._path)


def profiles_from(file: str | None, required: str | None) -> Callable[[], Profiles]:
    """What gives the present profiles; none without a ``file``. Raises ConfigurationError."""
    if file:
        return ProfilesFile(Path(file), required).present
    if required is not None:
        raise ConfigurationError(f"candidate_order names the profile {required}, and no file has profiles.")
    return lambda: NO_PROFILES
