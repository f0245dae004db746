#!/usr/bin/env bash
# compute_sanitizer.sh - NVIDIA's compute-sanitizer over a short training run on a GPU (memory errors, races in
# shared memory, barriers) and over the operations on rows (memory errors).  Part of make test-gpu.
#
# Under it a kernel takes up to hundreds of times as long: all tests of all operations would take a day.
set -u
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
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

# try CHECK PROGRAM ARGUMENTS...
try() {
    local check=$1
    shift
    # the first lines name what was found
    if timeout 600 "$tool" --tool "$check" --error-exitcode 9 "$@" >"$work/log" 2>&1; then
        echo "ok $check ${1##*/}"
    else
        echo "not ok $check ${1##*/}: $(grep -m 3 '=========' "$work/log" | tr '\n' ' ' | head -c 300)"
        bad=1
    fi
}

for i in {1..200}; do echo "line $i: the cat sat on the mat, and the rat sat on $((i * 7))"; done >"$work/text"
build/release/tokenize --vocab bpe:300 -o "$work/data" "$work/text" >"$work/log" 2>&1
for check in memcheck racecheck synccheck; do
    try $check build/release/train_gpt --device cuda --layers 2 --heads 2 --width 64 --context 96 --vocab 301 \
        --train-data "$work/data_train.bin" --dtype bf16 --attention flash --batch 2 --seq 96 --steps 2 --eval-every 0 \
        --no-cuda-graph --out "$work/$check"
done
try memcheck build/release/cuda_ops_rows
exit $bad
