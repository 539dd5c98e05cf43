#!/usr/bin/env bash
# Write requirements/*.txt: every distribution pinned, every file by its hash, and no address,
# so that the same lock installs from whichever index the machine is configured for.
# Arguments are handed to pip-compile (for example --upgrade, or --upgrade-package falcon).
set -euo pipefail
cd "$(dirname "$0")/.."

compile() {
    local target=$1
    shift
    local body
    body=$(mktemp)
    # What is locked now stays locked unless an upgrade is asked for.
    if [[ -f $target ]]; then cp "$target" "$body"; fi
    .venv/bin/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-header \
        --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options \
        --output-file "$body" "$@"
    {
        echo "# Written by \`make lock\` from ${!#}. Do not edit."
        # The path of the scratch file and pip-compile's advice on flags say nothing to a reader.
        grep -v '^# The following packages are considered to be unsafe' "$body"
    } >"$target"
    rm -f "$body"
}

upgrade=("$@")
compile requirements/run.txt "${upgrade[@]}" pyproject.toml
for set in pip build test docs lock audit lowest; do
    compile "requirements/$set.txt" "${upgrade[@]}" "requirements/$set.in"
done
