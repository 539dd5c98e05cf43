#!/usr/bin/env bash
# Write requirements/*.txt: every distribution pinned, for all supported versions of Python at once, every file by
# its hash, and no address, so that the same lock installs from whichever index the machine is configured for.
# Write requirements/wheels.tsv beside them: for which Python and which machine each of them has a wheel.
# Arguments are handed to uv (for example --upgrade, or --upgrade-package falcon).
set -euo pipefail
cd "$(dirname "$0")/.."

lowest=$(sed -n 's/^requires-python = ">=\(.*\)"$/\1/p' pyproject.toml)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# An interpreter is never downloaded: the one of .venv does, as --universal asks none what it is.
resolve() {
    .venv/bin/uv pip compile --quiet --universal --python-version "$lowest" --python .venv/bin/python \
        --no-python-downloads --no-header "$@"
}

compile() {
    local target=$1
    shift
    # What is locked now stays locked unless an upgrade is asked for.
    if [[ -f $target ]]; then cp "$target" "$scratch/body.txt"; else rm -f "$scratch/body.txt"; fi
    resolve --generate-hashes --output-file "$scratch/body.txt" "$@" >/dev/null
    { echo "# Written by \`make lock\` from ${!#}. Do not edit." && cat "$scratch/body.txt"; } >"$target"
}

compile requirements/run.txt "$@" pyproject.toml
sets=(pip build test docs lock audit)
for set in "${sets[@]}"; do
    compile "requirements/$set.txt" "$@" "requirements/$set.in"
done

# The locks name files by hash only. The names tell what a file is for, and uv writes them into this form of a lock.
for set in run "${sets[@]}"; do
    resolve --no-deps --format pylock.toml --output-file "$scratch/pylock.$set.toml" "requirements/$set.txt" >/dev/null
done
.venv/bin/python tools/wheels.py "$scratch"/pylock.*.toml >"$scratch/wheels.tsv"
mv "$scratch/wheels.tsv" requirements/wheels.tsv
