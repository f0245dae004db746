#!/usr/bin/env bash
# test_transformers.sh - files of every family, from here to Hugging Face's transformers and back; see
# transformers_reference.py.  Without that library test_family_files still holds our reading and writing
# to values that it has computed.
set -u
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-/usr/bin/python3}
"$python" -c 'import torch, transformers' 2>/dev/null || {
    echo "skip transformers: $python does not have it; PYTHON names one that has torch and transformers"
    exit 0
}
[ -x build/release/train_gpt ] || { echo "not ok build/release is not built: run \`make test\`"; exit 1; }
"$python" test/transformers_reference.py build/release
