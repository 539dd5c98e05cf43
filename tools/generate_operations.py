"""Write the pages of docs/reference that operators need from the tables that the service runs on.

``generate_operations.py`` writes them; with ``--check`` it only says which of them are not what the
tables give, and ends with status 1 if there is one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from oslo_config import cfg

from moorage.cli import options
from moorage.cli.kept_options import DEFAULT_GROUP
from moorage.watch.table import METRICS

FOLDER: Final = Path(__file__).parents[1] / "docs" / "reference"

NOTE: Final = "<!-- Written by `make reference` from the tables of the source. Do not edit. -->\n\n"

INTRODUCTION: Final = """\
# Options of placement.conf

Moorage reads the file that operators of Placement have, as it is. Sections and options that are not listed
here are left alone: the file also speaks to other libraries. `moorage config sample` writes a file with all
options, and `moorage config check` says what is wrong or idle in a given one.

Where an option is set in several places, the first of these counts:

1. the command line (`--database`),
2. the environment as `OS_PLACEMENT_<GROUP>__<OPTION>`, for example `OS_PLACEMENT_API__AUTH_STRATEGY`,
3. the environment as `OS_<GROUP>__<OPTION>`, for example `OS_PLACEMENT_DATABASE__CONNECTION`,
4. the files `*.conf` in the directory of `--config-dir`, the last by name first,
5. the file of `--config-file`, or `placement.conf` in the directory that `OS_PLACEMENT_CONFIG_DIR` names,
6. the default.

A [WSGI server](../how-to/another-wsgi-server.md) has no command line for them: there, without
`OS_PLACEMENT_CONFIG_DIR`, `placement.conf` is looked for in `~/.placement`, `~`, `/etc/placement` and `/etc`,
and the directory `placement.conf.d` in the same places. The commands look there only if they are told to, so
that trying something out on a host cannot reach its database by accident.

Options that are accepted without effect are named in the log at start if they are set.
"""

SECTIONS: Final[Mapping[str, str]] = {
    DEFAULT_GROUP: "Where things are, and logs. The options about logs are those of oslo.log.",
    "placement_database": "How the database is reached.",
    "api": "Who vouches for clients.",
    "placement": "How the service answers.",
    "workarounds": "Placement's workarounds.",
    "moorage": "Options of Moorage's own. See [what a search costs](../explanation/search.md).",
    "oslo_middleware": "Behind a proxy.",
    "oslo_policy": "Who may do what: [policy rules](policy.md). The options are those of oslo.policy.",
    "cors": "Pages of other origins that may use the service from a browser. Without `allowed_origin` "
    "nothing is done. The options are those of oslo.middleware.",
    "keystone_authtoken": "How tokens are validated. The options are those of keystonemiddleware, and those "
    "of the `auth_type` that is chosen.",
}
"""What the section is about."""

AFTER: Final[Mapping[str, str]] = {
    "api": """
`keystone` reads the section `[keystone_authtoken]` as every service of a cloud does: all options of
keystonemiddleware, and those of the plugin that `auth_type` names. [Let Keystone vouch for
clients](../how-to/use-keystone.md) says how. `token` is Moorage's own: [let clients in by
tokens](../how-to/use-tokens.md). Without any configuration `moorage serve` takes `noauth2`, on
loopback.
""",
    "moorage": """
### Limits against abuse

What goes beyond a limit (`max_…`) is refused with the status given, in the usual form of errors, and
changes nothing. The defaults are meant to be met by nobody who means well: Nova asks for a thousand
aggregates at once, and reshapes thousands of allocations. How these fit together is told in [what stops
whom](../explanation/security.md).

The HTTP server of `moorage serve` has bounds of its own besides: a URL of more than 65534 bytes, more
than 100 headers, or far more bytes of headers than `max_header_bytes`, are answered with 414 or 431
without a body. `max_connections`, `idle_timeout`, `body_timeout` and `one_processor_per_worker` are
for `moorage serve` only; [another WSGI server](../how-to/another-wsgi-server.md) has its own. Connections
beyond `max_connections` wait in the kernel's queue until one is closed.

At most 48 of a worker's 64 threads read bodies at a time; who comes while all of these wait for slow
clients gets 503 with `retry-after`, and requests without a body go on. A client without a valid token is
answered without waiting for its body.
""",
}
"""What else is to be said of a section."""

LONGEST_DEFAULT: Final = 60
LONGEST_HELP: Final = 200


def configuration() -> str:
    """The page of options."""
    parts = [INTRODUCTION]
    for group in {**options.OPTIONS, **options.LIBRARY_OPTIONS}:
        rows = [(option, option.help or "") for option in options.OPTIONS.get(group, ())]
        rows += [
            (option, first_sentence(option.help or "")) for option in options.LIBRARY_OPTIONS.get(group, ())
        ]
        parts.append(f"\n## [{group}]\n\n{SECTIONS[group]}\n\n")
        parts.append(
            table(
                ("Option", "Default", "Meaning"),
                ((f"`{option.dest}`", default_of(option), in_cell(text)) for option, text in rows),
            )
        )
        parts.append(AFTER.get(group, ""))
    return NOTE + "".join(parts)


def default_of(option: cfg.Opt) -> str:
    """The default as a cell: what a file would have to say."""
    value: Any = option.sample_default if option.sample_default is not None else option.default
    if value is None or value == "" or value == []:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    text = str(value)
    return f"`{text if len(text) <= LONGEST_DEFAULT else text[:LONGEST_DEFAULT] + '…'}`".replace("|", "\\|")


def first_sentence(text: str) -> str:
    """What a library's help begins with."""
    words = " ".join(text.split())
    sentence = words.partition(". ")[0].rstrip(".")
    return f"{sentence[:LONGEST_HELP]}." if sentence else ""


def in_cell(text: str) -> str:
    """Text that Markdown leaves alone within a table."""
    plain = " ".join(text.split())
    for sign in "\\<>*_|":
        plain = plain.replace(sign, f"\\{sign}")
    return plain


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


METRICS_INTRODUCTION: Final = """\
# Metrics

What `/metrics` answers, in the formats of Prometheus. How to open it is told in
[see what a service does](../how-to/monitor.md). A histogram has the series `…_bucket`, `…_sum` and `…_count`.

Where several worker processes serve, counters, histograms and gauges are the sum over all of them, also over
those that have ended; gauges of a process have a label `pid`, and go with it.

"""


def metrics() -> str:
    """The page of metrics."""
    parts = [NOTE, METRICS_INTRODUCTION]
    rows = [
        (
            f"`{metric.name}`",
            metric.kind.value,
            ", ".join(f"`{label}`" for label in (*metric.labels, *(["pid"] if metric.per_process else ()))),
            metric.about.replace("|", "\\|"),
        )
        for metric in METRICS
    ]
    parts.append(table(("Metric", "Kind", "Labels", "What it tells"), rows))
    parts.append("\n## Buckets\n\n")
    bounds = [
        (f"`{metric.name}`", ", ".join(f"{bound:g}" for bound in metric.buckets))
        for metric in METRICS
        if metric.buckets
    ]
    parts.append(table(("Metric", "Upper bounds"), bounds))
    return "".join(parts)


PAGES: Final[Mapping[str, Callable[[], str]]] = {"configuration.md": configuration, "metrics.md": metrics}


def stale(folder: Path) -> list[str]:
    """Names of pages in ``folder`` that are not what the tables give."""
    return [
        name
        for name, page in PAGES.items()
        if not (folder / name).exists() or (folder / name).read_text() != page()
    ]


def main(arguments: Sequence[str], folder: Path = FOLDER) -> int:
    """Write the pages, or with ``--check`` tell which are stale; the exit status."""
    if list(arguments) == ["--check"]:
        found = stale(folder)
        for name in found:
            print(f"{folder / name} is not what the tables give: run make reference", file=sys.stderr)
        return 1 if found else 0
    for name, page in PAGES.items():
        (folder / name).write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
