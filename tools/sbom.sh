#!/usr/bin/env bash
# Write the bill of materials of a release: every distribution that is locked to run with, with its hashes, in
# CycloneDX. The same lock gives the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' src/moorage/__init__.py)
target=dist/moorage-$version.cdx.json
mkdir -p dist
# The root has no list of what it needs: all that is locked is listed flat, which is what a warning says.
PYTHONWARNINGS=ignore .venv/audit/bin/cyclonedx-py requirements requirements/run.txt \
    --index-url https://pypi.org/simple --pyproject pyproject.toml --mc-type application \
    --spec-version 1.6 --output-reproducible --output-format JSON --validate --output-file "$target"
echo "$target: $(grep -c '"purl"' "$target") distributions"
