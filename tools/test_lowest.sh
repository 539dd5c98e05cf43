#!/usr/bin/env bash
# Serve a journey and run the fast tests with the oldest versions that pyproject.toml allows of what the package
# needs.
# uv finds them (pip cannot look for the lowest). They stand in an environment of their own below
# build/lowest. The test tools are as new as these versions let them be.
# Arguments are handed to pytest. Needs the network.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=build/lowest
uv=.venv/bin/uv
python=$folder/venv/bin/python
tests=(${MOORAGE_LOWEST_TESTS:-tests/unit tests/property tests/databases tests/schedules})
tools=(cryptography hypothesis "openapi-spec-validator>=0.7" packaging pytest pytest-xdist)

rm -rf "$folder"
mkdir -p "$folder"
"$uv" pip compile --quiet --extra otel --resolution lowest-direct --no-header --annotation-style line \
    --python .venv/bin/python --output-file "$folder/run.txt" pyproject.toml
# What pyproject.toml names stays as old as it is; what that brings along may make room for a tool.
grep -F "(pyproject.toml)" "$folder/run.txt" >"$folder/direct.txt"
"$uv" venv --quiet --python .venv/bin/python "$folder/venv"
"$uv" pip install --quiet --python "$python" -r "$folder/run.txt"
"$uv" pip install --quiet --python "$python" --constraint "$folder/direct.txt" "${tools[@]}"
"$uv" pip install --quiet --python "$python" -r requirements/build.txt
"$uv" pip install --quiet --python "$python" --no-deps --no-build-isolation --editable .
"$uv" pip list --python "$python"
# The sample cloud, over HTTP, and every command that is printed at start.
"$python" -m tests.packaging.served "$folder/venv/bin/moorage"
# Old versions warn of what newer ones of Python deprecate: that is not what is asked here.
"$python" -m pytest -q -n 2 -W default -m "not databases and not journey and not slow" "$@" "${tests[@]}"
