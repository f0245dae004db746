#!/usr/bin/env bash
# test_export.sh - loading and exporting against an independent reading of the files; see
# hf_reference.py, which needs no more than Python's standard library.
set -u
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-/usr/bin/python3}
command -v "$python" >/dev/null || { echo "skip export $python is not there: apt-get install python3"; exit 0; }
status=0
for build in build/release build/san; do
    if [ -x $build/export ] && [ -x $build/train_gpt ]; then
        "$python" test/hf_reference.py $build || status=1
    else
        echo "not ok $build is not built: run \`make test\`"
        status=1
    fi
done
exit $status
