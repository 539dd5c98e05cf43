"""Write the pages of docs/reference that operators need from the tables that the service runs on.

``generate_operations.py`` writes them. With ``--check`` it only names the pages that differ from the tables,
and ends with status 1 if there is one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from oslo_config import cfg

from moorage.telemetry.table import METRICS
from moorage.wiring import options
from moorage.wiring.kept_options import DEFAULT_GROUP

try:
    from tools import native_page
except ImportError:
    import native_page  # type: ignore[import-not-found, no-redef]

FOLDER: Final = Path(__file__).parents[1] / "docs" / "reference"

NOTE: Final = "<!-- Written by `make reference` from the tables of the source. Do not edit. -->\n\n"

INTRODUCTION: Final = """\
# Options of placement.conf

Moorage reads the file that operators of Placement have, as it is. `moorage config sample` writes a file with
all options. `moorage config check` reports all errors of a given file at once, and what has no effect. Those
are options that are accepted without effect, and unknown sections, options and variables, each with the
nearest known name. The service logs the same at start. `[profiler]` is accepted without effect. A plugin in
the URL of the database that only counts (`plugin=dbcounter`, which devstack writes) is ignored if it is not
installed.

If an option is set in several places, the first of these applies:

1. the command line (`--database`),
2. the environment as `OS_PLACEMENT_<GROUP>__<OPTION>`, for example `OS_PLACEMENT_API__AUTH_STRATEGY`,
3. the environment as `OS_<GROUP>__<OPTION>`, for example `OS_PLACEMENT_DATABASE__CONNECTION`,
4. the files `*.conf` in the folder of parts, the last by name first,
5. the configuration file,
6. the default.

## Which files are read

The commands, `moorage serve` and a [WSGI server](../how-to/another-wsgi-server.md) read the same files. The
first of these applies:

| | Configuration file | Folder of parts |
| --- | --- | --- |
| command line | `--config-file FILE` | `--config-dir DIRECTORY`, or else `FILE.d` |
| `OS_PLACEMENT_CONFIG_DIR` | `placement.conf` there | `placement.conf.d` there, or else the usual one |
| usual places | the first `placement.conf` | the first `placement.conf.d` |

The usual places are `~/.placement`, `~`, `/etc/placement` and `/etc`, in this order. `--config-file
/dev/null` reads nothing. `moorage serve --demo` ignores the usual places, so that the sample cloud
never gets into the database of a real cloud.

## Which database is used

Each command that opens a database names it in its first line on stderr, with the option, file or variable
that names it:

```text
Database: mysql+pymysql://placement:***@db/placement (/etc/placement/placement.conf.d/custom.conf)
```

`--database URL` and `--data-dir DIRECTORY` override the configuration. Without them and without any
configuration file the database is `./moorage-data/moorage.sqlite`. Only `moorage serve` creates that file;
other commands fail if it does not exist. A configuration file that names no database is an error, also for
the service. Commands that only read create no file and change none.

At start, the log names the set options that have no effect.
"""

SECTIONS: Final[Mapping[str, str]] = {
    DEFAULT_GROUP: "Places of files, and logs. The options about logs are those of oslo.log. In a "
    "logging file (`log_config_append`) a logger with the qualname `placement` applies to Moorage as well, "
    "unless there is one with the qualname `moorage`.",
    "placement_database": "How the database is reached.",
    "api": "How clients are authenticated.",
    "placement": "How the service answers.",
    "workarounds": "Placement's workarounds.",
    "moorage": "Options of Moorage's own. See [what a search costs](../explanation/search.md).",
    "oslo_middleware": "Behind a proxy.",
    "oslo_policy": "The rules of access: [policy rules](policy.md). The options are those of oslo.policy.",
    "cors": "Pages of other origins that may use the service from a browser. Without `allowed_origin` "
    "it has no effect. The options are those of oslo.middleware.",
    "keystone_authtoken": "How tokens are validated. The options are those of keystonemiddleware, and those "
    "of the selected `auth_type`.",
}
"""The subject of each section."""

AFTER: Final[Mapping[str, str]] = {
    "api": """
`keystone` reads the section `[keystone_authtoken]` as every service of a cloud does: all options of
keystonemiddleware, and those of the plugin that `auth_type` names. [Authenticate clients
by Keystone](../how-to/use-keystone.md) describes it. `token` is Moorage's own: [authenticate clients by
tokens](../how-to/use-tokens.md). Without any configuration `moorage serve` uses `noauth2`, on loopback.
""",
    "moorage": """
### Limits against abuse

A request beyond a limit (`max_…`) is refused with the given status, in the usual form of errors, and changes
nothing. Usual requests stay below the defaults: Nova asks for a thousand aggregates at once, and reshapes
thousands of allocations. [Security](../explanation/security.md) describes how the limits work together.

The HTTP server of `moorage serve` has additional bounds of its own: a URL of more than 65534 bytes, more
than 100 headers, or far more bytes of headers than `max_header_bytes`, are answered with 414 or 431
without a body. `max_connections`, `idle_timeout`, `body_timeout` and `one_processor_per_worker` are
for `moorage serve` only; [another WSGI server](../how-to/another-wsgi-server.md) has its own. Connections
beyond `max_connections` wait in the kernel's queue until one is closed.

At most 48 of a worker's 64 threads read bodies at a time. While all of these wait for slow clients, another
request with a body gets 503 with `retry-after`, and requests without a body are answered. A client without a
valid token gets its answer before its body arrives.
""",
}
"""Further text of a section."""

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
    """The default as a cell, in the form of a file."""
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
    """The first sentence of a library's help."""
    words = " ".join(text.split())
    sentence = words.partition(". ")[0].rstrip(".")
    return f"{sentence[:LONGEST_HELP]}." if sentence else ""


def in_cell(text: str) -> str:
    """Text escaped for a Markdown table."""
    plain = " ".join(text.split())
    for sign in "\\<>*_|":
        plain = plain.replace(sign, f"\\{sign}")
    return plain


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


METRICS_INTRODUCTION: Final = """\
# Metrics

The metrics of `/metrics`, in the formats of Prometheus. [Monitoring](../how-to/monitor.md) describes how to
open it. A histogram has the series `…_bucket`, `…_sum` and `…_count`.

With several worker processes, counters, histograms and gauges are sums over all of them, ended ones included.
Gauges of a process have a label `pid`, and end with the process.

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
    parts.append(table(("Metric", "Kind", "Labels", "Meaning"), rows))
    parts.append("\n## Buckets\n\n")
    bounds = [
        (f"`{metric.name}`", ", ".join(f"{bound:g}" for bound in metric.buckets))
        for metric in METRICS
        if metric.buckets
    ]
    parts.append(table(("Metric", "Upper bounds"), bounds))
    return "".join(parts)


def native() -> str:
    """The page of the native API."""
    return NOTE + native_page.page(table, in_cell)


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "configuration.md": configuration,
    "metrics.md": metrics,
    "native.md": native,
}


def stale(folder: Path) -> list[str]:
    """Names of pages in ``folder`` that differ from the tables."""
    return [
        name
        for name, page in PAGES.items()
        if not (folder / name).exists() or (folder / name).read_text() != page()
    ]


def main(arguments: Sequence[str], folder: Path = FOLDER) -> int:
    """Write the pages, or with ``--check`` name the stale ones; returns the exit status."""
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
