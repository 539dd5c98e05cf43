#!/usr/bin/env bash
# Install the database servers that the tests start, if they are missing and this may be done.
# Otherwise say what to do; the tests tell at the end what they skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t packages < <(.venv/bin/python -m tests.servers.binaries)
if [[ ${#packages[@]} -eq 0 ]]; then exit 0; fi

avoid="To have no package installed, stop this (Ctrl-C) and run make test APT=no: tests on these
databases are skipped then, unless the URL of a server is in MOORAGE_TEST_POSTGRESQL or MOORAGE_TEST_MYSQL."

if [[ ${APT:-yes} != no && $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
    echo "The tests start database servers of their own. Installing system packages for them, by apt-get:"
    echo "  ${packages[*]}"
    echo "$avoid"
    # Time to read it, where there is a reader.
    if [[ -t 0 && -t 1 ]]; then sleep 10; fi
    export DEBIAN_FRONTEND=noninteractive
    if apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null; then
        exit 0
    fi
fi

echo "Not installed: ${packages[*]}. Tests on them need these packages; instead of PostgreSQL's or" \
    "MariaDB's, the URL of a server in MOORAGE_TEST_POSTGRESQL or MOORAGE_TEST_MYSQL will do." >&2
if [[ ${CI:-} == true ]]; then exit 1; fi
