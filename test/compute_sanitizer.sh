#!/usr/bin/env bash
# compute_sanitizer.sh - the tests of the operations on a GPU under NVIDIA's compute-sanitizer: memory
# errors, races in shared memory, barriers.  Part of make test-gpu.
set -u
cd "$(dirname "$0")/.." || exit 1
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
bad=0

tool=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
if [ -z "$tool" ]; then
    echo "skip compute-sanitizer is not here"
    exit 0
fi
if ! nvidia-smi >/dev/null 2>&1; then
    echo "skip compute-sanitizer needs a GPU"
    exit 0
fi
for check in memcheck racecheck synccheck; do
    for program in build/release/cuda_ops_*; do
        if [ ! -f "$program" ] || [ "${program##*.}" = d ]; then continue; fi
        # the first lines name what was found; a test under it may take hundreds of times as long
        if timeout 3000 "$tool" --tool "$check" --error-exitcode 9 "$program" >"$log" 2>&1; then
            echo "ok $check ${program##*/}"
        else
            echo "not ok $check ${program##*/}: $(grep -m 3 '=========' "$log" | tr '\n' ' ' | head -c 300)"
            bad=1
        fi
    done
done
exit $bad
