#!/usr/bin/env bash
# test_cuda.sh - train_gpt --device cuda as it is used, on the emulator: the same log as on the CPU,
# samples, checkpoints that resume on either device; and what a machine without a GPU is told.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export OMP_WAIT_POLICY=passive
bad=0
train=$root/${TRAIN:-build/san/train_gpt} # on a GPU: the program that nvcc built (make test-gpu)

report() { # TITLE STATUS
    if [ "$2" -eq 0 ]; then echo "ok $1"; else echo "not ok $1: $(tail -n 3 "$work/log" | head -c 300)"; bad=1; fi
}

if [ -z "${TRAIN:-}" ] && [ "$(uname -m)" != x86_64 ]; then
    echo "skip the emulator of CUDA is written for x86-64"
    exit 0
fi
cd "$work" || exit 1
for i in {1..200}; do echo "line $i: the cat sat on the mat, and the rat sat on $((i * 7))"; done >text
"$root/build/release/tokenize" --vocab bpe:300 -o data text >log 2>&1
report "data" $?

# run DIRECTORY DEVICE ARGUMENTS...
run() {
    local out=$1 device=$2
    shift 2
    timeout 120 "$train" --layers 2 --heads 2 --width 20 --context 24 --vocab 301 --batch 2 --lr 0.01 --warmup 2 \
        --train-data data_train.bin --val-data data_val.bin --eval-batches 2 --threads 1 --out "$out" \
        --device "$device" "$@" >log 2>&1
}

# same A B: the losses of two logs agree to five digits
same() {
    paste <(grep -o '"[a-z_]*loss":[-0-9.e+]*' "$1/log.jsonl") <(grep -o '"[a-z_]*loss":[-0-9.e+]*' "$2/log.jsonl") |
        awk -F '[:\t]' '{ d = $2 - $4; if (d < 0) d = -d; if (NF != 4 || d > 2e-5 * $2) bad = 1 } END { exit bad || NR < 4 }'
}

run cpu cpu --steps 6 --eval-every 3 --optim adamw_r
report "on the CPU" $?
run cuda cuda --steps 6 --eval-every 3 --optim adamw_r --sample-every 6 --sample-tokens 4
report "on CUDA" $?
grep -q '^device: cuda, ' log
report "says where it runs" $?
same cpu cuda
report "the losses of the CPU" $?
grep -q '"mfu_llmc":[0-9.e-]*,"mfu_palm":[0-9.e-]*,' cuda/log.jsonl && ! grep -q mfu cpu/log.jsonl &&
    { [ -n "${TRAIN:-}" ] || grep -q 'mfu against .* a product measured here' log; } && grep -q ' mfu [0-9.]* %' log
report "how much of the GPU is used" $?

run plain cuda --steps 6 --eval-every 3 --optim adamw_r --no-cuda-graph
grep -q 'one by one' log && cmp -s plain/model.safetensors cuda/model.safetensors
report "without graphs: says so, and the same bits" $?

run half cuda --steps 6 --eval-every 3 --optim adamw_r --checkpoint-every 3
cp -r half other
rm -rf half/step_00000006 other/step_00000006
run half cuda --steps 6 --eval-every 3 --optim adamw_r --resume auto --checkpoint-every 3
report "resumed on CUDA" $?
cmp -s half/model.safetensors cuda/model.safetensors
report "resumed on CUDA: the same bits" $?
run other cpu --steps 6 --eval-every 3 --optim adamw_r --resume auto --checkpoint-every 3
report "a checkpoint of CUDA resumes on the CPU" $?
same cpu other
report "resumed on the CPU: the same losses" $?

# a program for CUDA without a GPU, or one without CUDA: one line, status 1
if ! command -v nvidia-smi >/dev/null; then
    "$root/build/release/train_gpt" --device cuda --train-data data_train.bin --vocab 301 --out none >out 2>log
    [ $? -eq 1 ] && [ "$(wc -l <log)" -eq 1 ] && grep -q -e '--device cpu' log
    report "without a GPU" $?
fi
exit $bad
