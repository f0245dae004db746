#!/usr/bin/env bash
# run.sh - tokenizers against the real libraries, in a virtual environment under build/ (make test-peers).
set -u
cd "$(dirname "$0")/../.." || exit 1
venv=build/peers
if [ ! -x $venv/bin/python ] || ! $venv/bin/python -c 'import tokenizers' 2>/dev/null; then
    python3 -m venv $venv && $venv/bin/pip -q install tokenizers==0.23.3 ||
        { echo "skip peers the Python package tokenizers 0.23.3 is not to be had"; exit 0; }
fi
$venv/bin/python test/peers/against_tokenizers.py "${PEER_TEXTS:-10000}"
