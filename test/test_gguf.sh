#!/usr/bin/env bash
# test_gguf.sh - export --to gguf against an independent reading of the file; see gguf_reference.py.
set -u
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-/usr/bin/python3}
command -v "$python" >/dev/null || { echo "skip gguf $python is not there: apt-get install python3"; exit 0; }
[ -x build/release/export ] || { echo "not ok gguf build/release is not built: run \`make test\`"; exit 1; }
"$python" test/gguf_reference.py build/release
