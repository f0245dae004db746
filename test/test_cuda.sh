#!/usr/bin/env bash
# test_cuda.sh - train_gpt and train_vit with --device cuda as they are used, on the emulator: the same
# log as on the CPU, checkpoints that resume on either device; and what a machine without a GPU is told.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export OMP_WAIT_POLICY=passive
bad=0
build=$root/${PROGRAMS:-build/san} # on a GPU: what nvcc built (make test-gpu)

report() { # TITLE STATUS
    if [ "$2" -eq 0 ]; then echo "ok $1"; else echo "not ok $1: $(tail -n 3 "$work/log" | head -c 300)"; bad=1; fi
}

if [ -z "${PROGRAMS:-}" ] && [ "$(uname -m)" != x86_64 ]; then
    echo "skip the emulator of CUDA is written for x86-64"
    exit 0
fi
cd "$work" || exit 1

# ---- data: a text, and images of 6 x 9 with a bright line where the label says ----

for i in {1..200}; do echo "line $i: the cat sat on the mat, and the rat sat on $((i * 7))"; done >text
"$root/build/release/tokenize" --vocab bpe:300 -o data text >log 2>&1
report "data" $?
bytes() { awk '{ for (i = 1; i <= NF; i++) printf "\\0%03o", $i }' | { read -r all; printf '%b' "$all"; }; }
{
    echo 0 0 8 3 0 0 0 40 0 0 0 6 0 0 0 9
    awk 'BEGIN { for (i = 0; i < 40; i++) for (p = 0; p < 54; p++)
        print int(p / 9) == i % 5 ? 200 : (i * 37 + p * 11) % 97 }'
} | bytes >x-images-idx3-ubyte
{
    echo 0 0 8 1 0 0 0 40
    awk 'BEGIN { for (i = 0; i < 40; i++) print i % 5 }'
} | bytes >x-labels-idx1-ubyte

gpt="--context 24 --vocab 301 --train-data data_train.bin --val-data data_val.bin"
vit="--patch 3 --image-size 6x9 --channels 1 --classes 5 --inner 31 --drop-path 0.2
     --train-data x-images-idx3-ubyte --val-data x-images-idx3-ubyte"

# ---- both programs ----

# run OUT DEVICE ARGUMENTS...
run() {
    local out=$1 device=$2
    shift 2
    # shellcheck disable=SC2086 # $model is words
    timeout 120 "$build/train_$program" $model --layers 2 --heads 2 --width 20 --batch 2 --lr 0.01 \
        --warmup 2 --eval-batches 2 --threads 1 --out "$out" --device "$device" "$@" >log 2>&1
}

# same A B: the losses of two logs agree to five digits
same() {
    paste <(grep -o '"[a-z_]*loss":[-0-9.e+]*' "$1/log.jsonl") <(grep -o '"[a-z_]*loss":[-0-9.e+]*' "$2/log.jsonl") |
        awk -F '[:\t]' '{ d = $2 - $4; if (d < 0) d = -d; if (NF != 4 || d > 2e-5 * $2) bad = 1 } END { exit bad || NR < 4 }'
}

# ---- attention by whoever has it ----

program=gpt model="--context 24 --vocab 301 --train-data data_train.bin --val-data data_val.bin"
few="--seq 9 --steps 2 --dtype bf16 --eval-every 0"
# shellcheck disable=SC2086
{
    run auto10 cuda $few && grep -q '^attention: flash (cudnn takes heads of 8' log
    report "--attention auto: ours where NVIDIA's does not go" $?
    run auto136 cuda $few --width 272 && grep -q '^attention: flash (cudnn has no engine on some' log
    report "--attention auto: ours where NVIDIA's may not go" $?
    run auto16 cuda $few --width 32 && grep -q '^attention: cudnn; not the same bits' log &&
        run named16 cuda $few --width 32 --attention cudnn && cmp -s auto16/model.safetensors named16/model.safetensors
    report "--attention auto: NVIDIA's where it does" $?
    run kept16 cuda $few --width 32 --attention flash && ! grep -q '^attention' log &&
        ! cmp -s auto16/model.safetensors kept16/model.safetensors
    report "--attention flash: ours" $?
    run auto_cpu cpu $few --width 32 && ! grep -q '^attention' log && run auto32 cuda --seq 9 --steps 2 --eval-every 0 --width 32 &&
        ! grep -q '^attention' log
    report "--attention auto on a CPU and in fp32: ours" $?
}

# ---- a plan that does not fit the emulator's 1 GiB: what would ----

if [ -z "${PROGRAMS:-}" ]; then
    big="--layers 2 --heads 4 --width 512 --context 64 --vocab 50257 --batch 128 --train-data data_train.bin"
    # shellcheck disable=SC2086
    "$build/train_gpt" --device cuda $big --out none >out 2>log
    [ $? -eq 1 ] && [ "$(wc -l <log)" -eq 1 ] && grep -q 'MiB are free: --.* would fit' log
    report "a plan that does not fit" $?
    # shellcheck disable=SC2046,SC2086 # what it says, taken at its word
    "$build/train_gpt" --plan --json --device cuda $big $(sed 's/.*free: //; s/ would fit.*//' log) >out 2>&1 &&
        awk -F '[:,]' '{ exit !($2 < 1073741824) }' out
    report "what would fit does" $?
    # shellcheck disable=SC2086
    "$build/train_gpt" --device cuda $big --layers 8 --width 4096 --out none >out 2>log
    [ $? -eq 1 ] && grep -q 'MiB are free; .* needs .* MiB still: use a smaller model' log
    report "a model that cannot fit" $?
fi

for program in gpt vit; do
    model=${!program} sampling=
    [ $program = vit ] || sampling="--sample-every 6 --sample-tokens 4"
    rm -rf cpu cuda half other plain
    run cpu cpu --steps 6 --eval-every 3 --optim adamw_r
    report "$program: on the CPU" $?
    # shellcheck disable=SC2086
    run cuda cuda --steps 6 --eval-every 3 --optim adamw_r $sampling
    report "$program: on CUDA" $?
    grep -q '^device: cuda, ' log
    report "$program: says where it runs" $?
    same cpu cuda
    report "$program: the losses of the CPU" $?
    grep -q '"mfu_llmc":[0-9.e-]*,"mfu_palm":[0-9.e-]*,' cuda/log.jsonl && ! grep -q mfu cpu/log.jsonl &&
        { [ -n "${PROGRAMS:-}" ] || grep -q 'mfu against .* measured here' log; } && grep -q ' mfu [0-9.]* %' log
    report "$program: how much of the GPU is used" $?

    run plain cuda --steps 6 --eval-every 3 --optim adamw_r --no-cuda-graph
    grep -q 'one by one' log && cmp -s plain/model.safetensors cuda/model.safetensors
    report "$program: without graphs: says so, and the same bits" $?

    few="--steps 6 --eval-every 3 --sparsity 0.7 --regrow-every 2 --optim adamw_r"
    rm -rf few few_cuda few_plain
    # shellcheck disable=SC2086
    run few cpu $few && run few_cuda cuda $few && same few few_cuda
    report "$program: non-zeros alone: the losses of the CPU" $?
    # shellcheck disable=SC2086
    run few_plain cuda $few --no-cuda-graph && cmp -s few_plain/model.safetensors few_cuda/model.safetensors
    report "$program: non-zeros alone, without graphs: the same bits" $?

    run half cuda --steps 6 --eval-every 3 --optim adamw_r --checkpoint-every 3
    cp -r half other
    rm -rf half/step_00000006 other/step_00000006
    run half cuda --steps 6 --eval-every 3 --optim adamw_r --resume auto --checkpoint-every 3
    report "$program: resumed on CUDA" $?
    cmp -s half/model.safetensors cuda/model.safetensors
    report "$program: resumed on CUDA: the same bits" $?
    run other cpu --steps 6 --eval-every 3 --optim adamw_r --resume auto --checkpoint-every 3
    report "$program: a checkpoint of CUDA resumes on the CPU" $?
    same cpu other
    report "$program: resumed on the CPU: the same losses" $?

    # a program for CUDA without a GPU, or one without CUDA: one line, status 1
    if ! command -v nvidia-smi >/dev/null; then
        # shellcheck disable=SC2086
        "$root/build/release/train_$program" $model --device cuda --out none >out 2>log
        [ $? -eq 1 ] && [ "$(wc -l <log)" -eq 1 ] && grep -q -e '--device cpu' log
        report "$program: without a GPU" $?
    fi
done
exit $bad
