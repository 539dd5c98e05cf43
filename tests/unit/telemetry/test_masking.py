"""What a log shows of passwords and tokens: nothing."""

from __future__ import annotations

import io
import logging
from uuid import uuid4

import pytest
import sqlalchemy as sa

from moorage.telemetry.masking import MaskingFormatter, mask_handlers, masked
from tests.table import each

SECRET = "hunter2"


@each(
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
        f"postgresql://u:pa/ss@{SECRET}@h/d",
        f"postgresql://u:pa?ss,{SECRET}@h/d",
        f"postgresql://h/d?password={SECRET}",
        f"adminPass={SECRET}",
        f"os_secret0='{SECRET}'",
        f"{{'password': 'it\\'s {SECRET}'}}",
        f'{{"password": "a\\"b{SECRET}"}}',
        f'"{{\\"token\\": \\"{SECRET}\\"}}"',
        f"--os-token {SECRET}",
        f"['--os-token', '{SECRET}']",
        f"no such token '{SECRET}'",
        f"<password>{SECRET} </password>",
        f'password="{SECRET}\nand no end of the quotes',
        f"moorage_0123456789abcdef_{SECRET.ljust(43, '0')}",
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
        "http://127.0.0.1:8778/resource_providers?name=a@b",
        "GET /x?a=://b:c@d",
        "://b:c@d",
        "http://u:@h and ftp://u:@/@",
        "[keystone_authtoken] token_cache_time = 300",
        "token: 5, secret> 6, password, 'seven'",
        "the password is in the file",
        "compassion=1&passenger=2",
    ],
)
def test_all_else_stays_as_it_is(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            f'{{"message": "m", "password": "{SECRET}", "resource": "VCPU", "host": "h"}}',
            '{"message": "m", "password": "***", "resource": "VCPU", "host": "h"}',
        ),
        (
            f"{{'auth': {{'password': '{SECRET}', 'user': 'u'}}, 'resource': 'VCPU'}}",
            "{'auth': {'password': '***', 'user': 'u'}, 'resource': 'VCPU'}",
        ),
        (f"/x?password={SECRET}&name=a", "/x?password=***&name=a"),
        (f"/x?name=http://h:{SECRET}@/&mail=a@b", "/x?name=http://h:***@/&mail=a@b"),
        (f"postgresql://u:{SECRET}@h/d,mail=a@b next", "postgresql://u:***@h/d,mail=a@b next"),
        (
            f"a://u:{SECRET}@h/d;a://u:{SECRET}@h/d",
            "a://u:***@h/d;a://u:***@h/d",
        ),
        (f"X-Auth-Token: {SECRET}, Accept: */*", "X-Auth-Token: ***, Accept: */*"),
        ("x-auth-token, accept: */*", "x-auth-token, accept: */*"),
        ('password="\nnext "line"', 'password="\nnext "line"'),
        (f"admin_password = {SECRET} user = u", "admin_password = *** user = u"),
    ],
)
def test_only_the_secret_is_hidden(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert masked(shown) == shown


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
