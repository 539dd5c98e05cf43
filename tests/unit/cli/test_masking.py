"""What a log shows of passwords and tokens: nothing."""

from __future__ import annotations

import io
import logging
from uuid import uuid4

import pytest
import sqlalchemy as sa

from moorage.cli.masking import MaskingFormatter, mask_handlers, masked

SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql+psycopg://moorage:{SECRET}@db.example/moorage",
        f"cannot connect to mysql+pymysql://u:{SECRET}@h:3306/d?charset=utf8, giving up",
        f"'postgresql://u:{SECRET}@/d'",
        f"url=sqlite://:{SECRET}@x",
        f"two postgresql://a:{SECRET}@x/y and postgresql://b:{SECRET}@z",
        f"an at in it: postgresql://a:p@ss{SECRET}@x/y",
        f"X-Auth-Token: {SECRET}",
        f"{{'X-Auth-Token': '{SECRET}', 'a': 1}}",
        f'{{"x-subject-token": "{SECRET}"}}',
        f"HTTP_X_AUTH_TOKEN={SECRET}",
        f"('x-service-token', '{SECRET}')",
        f"password={SECRET}",
        f"admin_password = {SECRET}",
        f'{{"auth": {{"password": "{SECRET}"}}}}',
    ],
)
def test_passwords_and_tokens_are_stars(text: str) -> None:
    shown = masked(text)
    assert SECRET not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://moorage@db.example/moorage",
        "http://127.0.0.1:8778/resource_providers",
        "sqlite:////srv/moorage.sqlite",
        "request req-1 could not be answered: the token is not valid",
        "mail to: someone@example.org",
    ],
)
def test_all_else_stays_as_it_is(text: str) -> None:
    assert masked(text) == text


@pytest.fixture
def written() -> tuple[logging.Logger, io.StringIO]:
    """A logger with a handler of its own, and what that has written."""
    stream = io.StringIO()
    logger = logging.getLogger(f"of-this-test-{uuid4()}")
    logger.addHandler(logging.StreamHandler(stream))
    mask_handlers(logger)
    logger.propagate = False
    return logger, stream


def test_errors_of_drivers_that_are_logged_in_full_are_masked_too(
    written: tuple[logging.Logger, io.StringIO],
) -> None:
    logger, stream = written
    url = f"postgresql://u:{SECRET}@h/d"
    try:
        try:
            raise ConnectionError(f"no route for {url}")
        except ConnectionError as error:
            raise sa.exc.OperationalError("SELECT 1", {"password": SECRET}, error) from error
    except sa.exc.OperationalError:
        logger.exception("the database %s is away", url)
    text = stream.getvalue()
    assert "Traceback" in text
    assert "no route for postgresql://u:***@h/d" in text
    assert SECRET not in text


def test_handlers_keep_their_own_form_and_are_masked_once() -> None:
    logger = logging.getLogger(f"of-this-test-{uuid4()}")
    handler = logging.StreamHandler(stream := io.StringIO())
    handler.setFormatter(logging.Formatter("%(levelname)s | %(message)s"))
    logger.addHandler(handler)
    logger.propagate = False
    mask_handlers(logger)
    once = handler.formatter
    mask_handlers(logger)
    assert handler.formatter is once
    assert isinstance(once, MaskingFormatter)
    logger.warning("password=%s", SECRET)
    assert stream.getvalue() == "WARNING | password=***\n"
