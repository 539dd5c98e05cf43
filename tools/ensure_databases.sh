#!/usr/bin/env bash
# Install the database servers that the tests start, if they are missing and this may be done.
# Otherwise say what to do; the tests tell at the end what they skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t packages < <(.venv/bin/python -m tests.servers.binaries)
if [[ ${#packages[@]} -eq 0 ]]; then exit 0; fi

if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
    echo "Installing ${packages[*]} for the tests"
    export DEBIAN_FRONTEND=noninteractive
    if apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null; then
        exit 0
    fi
fi

echo "Not installed: ${packages[*]}. Tests on them need these packages; instead of PostgreSQL's or" \
    "MariaDB's, the URL of a server in MOORAGE_TEST_POSTGRESQL or MOORAGE_TEST_MYSQL will do." >&2
if [[ ${CI:-} == true ]]; then exit 1; fi
