#!/usr/bin/env bash
# test_ranks.sh - several ranks over MPI: real processes, each with one thread.
#
#   N ranks = one process with the same batches: losses, validation, gradient norm; the same bits each
#   time, and whatever the stage (without accumulation); planned = handed out; bytes moved = theory
#   checkpoints go from any number of ranks to any other, and on to the same bits with the same
#   a rank that is killed, stopped, or of another mind ends the run in time, with its number
#
# A loss is a mean of some hundred float losses added up in double; what differs between one process
# and N are sums of float gradients, taken in N parts: a few ulp (6e-8) of each, which AdamW's quotient
# passes on and few steps do not blow up.  TOLERANCE is relative, far above that and far below what
# any wrong sample, scale or shard does (tried: a rank left out changes the first loss by 1e-3).
# LONG=1 tries all combinations.
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD TOLERANCE=2e-6 bad=0
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_base_warn_component_unused=0
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
command -v mpirun >/dev/null || { echo 'skip ranks no mpirun: apt-get install openmpi-bin libopenmpi-dev'; exit 0; }
[ -x build/release/train_gpt ] || { echo 'not ok ranks build/release is not built: run `make test`'; exit 1; }
if ! grep -q MPI_Init build/release/train_gpt; then echo 'skip ranks built without MPI: apt-get install libopenmpi-dev'; exit 0; fi
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1

ok() { echo "ok $1"; }
not_ok() {
    echo "not ok $1"
    bad=1
}

# ---- data: words at random; images of their bytes ----

awk 'BEGIN { srand(3); split("the cat sat on a mat and dogs ran far", w, " ")
             for (i = 0; i < 20000; i++) printf "%s ", w[1 + int(10 * rand())] }' >text.txt
"$root/build/release/tokenize" --vocab bytes -o x text.txt >/dev/null || exit 1
for i in $(seq 0 59); do
    printf '%b' "\\0$((i % 8))"
    tail -c +$((i * 997 + 1)) text.txt | head -c 3072
done >images.bin

gpt="train_gpt --layers 2 --heads 2 --width 24 --context 16 --vocab 256 --seq 16 --train-data x_train.bin --val-data x_val.bin"
vit="train_vit --image-size 32 --channels 3 --patch 16 --layers 1 --heads 2 --width 20 --inner 40 --classes 8 --train-data images.bin --val-data images.bin"
common="--device cpu --threads 1 --warmup 2 --eval-every 2 --eval-batches 1"

# run N DIR ARGUMENTS...: what is run by N ranks into DIR; 1 is one process without mpirun
run() {
    local n=$1 out=$2 program=$3
    shift 3
    rm -rf "$out"
    # shellcheck disable=SC2086 # options are words
    if [ "$n" = 1 ]; then
        "$root/build/release/$program" "$@" $common --out "$out" >"$out.txt" 2>&1
    else
        mpirun -np "$n" "$root/build/release/$program" "$@" $common --out "$out" >"$out.txt" 2>&1
    fi
}

# numbers DIR: "step name value" of all that training is judged by
numbers() {
    tr ',{}' '\n\n\n' <"$1/log.jsonl" |
        sed -n 's/^"\(step\|loss\|grad_norm\|val_loss\|accuracy\|val_accuracy\)":/\1 /p'
}

# alike A B: within the tolerance, the same numbers and as many
alike() {
    paste -d ' ' <(numbers "$1") <(numbers "$2") | awk -v t=$TOLERANCE '
        { n++; a = $2; b = $4; d = a > b ? a - b : b - a; m = a < 0 ? -a : a
          if ($1 != $3 || NF != 4 || d > t * (m > 1 ? m : 1)) { print $1 ": " a " and " b; bad = 1; exit } }
        END { if (n < 8) { print "only " n " numbers"; bad = 1 }; exit bad }'
}

same_bits() { cmp -s "$1/model.safetensors" "$2/model.safetensors"; }

planned_is_used() {
    local planned used
    planned=$(grep -o '"peak_bytes":[0-9]*' "$1/log.jsonl" | tail -1)
    used=$(grep -o '"high_water_bytes":[0-9]*' "$1/log.jsonl")
    [ -n "$used" ] && [ "${planned#*:}" = "${used#*:}" ]
}

# ---- bytes: 4 bytes a parameter, N = 21024; the step's numbers, and norms where each rank has a part ----

# moved DIR: bytes of its last step
moved() { grep -o '"comm_bytes":[0-9]*' "$1/log.jsonl" | tail -1 | cut -d: -f2; }
N=21024 SUMS=$((2 * 3 * 8)) NORMS=$((2 * 28 * 8))
# shellcheck disable=SC2086
# ---- ranks on GPUs: the CUDA device and NCCL, both emulated ----

# The biases and norms (12, 36) are dealt unevenly, the weights evenly.
tiny="--layers 1 --heads 2 --width 12 --context 8 --vocab 256 --seq 8 --train-data x_train.bin --val-data x_val.bin
    --threads 1 --warmup 2 --eval-batches 1"

# on_gpus N DIR OPTIONS: what N ranks on emulated GPUs leave in DIR
on_gpus() {
    local n=$1 out=$2
    shift 2
    rm -rf "$out"
    # shellcheck disable=SC2086
    ASAN_OPTIONS=detect_leaks=0 mpirun -np $n "$root/build/san/train_gpt" $tiny --device cuda --out "$out" "$@" >"$out.txt" 2>&1
}

# local_gpus DIR OPTIONS: two by --gpus; by_environment DIR OPTIONS: two as a job script starts them
local_gpus() {
    local out=$1
    shift
    rm -rf "$out"
    # shellcheck disable=SC2086
    ASAN_OPTIONS=detect_leaks=0 "$root/build/san/train_gpt" $tiny --device cuda --gpus 2 --out "$out" "$@" >"$out.txt" 2>&1
}
by_environment() {
    local out=$1 other status
    shift
    rm -rf "$out"
    export ASAN_OPTIONS=detect_leaks=0 WORLD_SIZE=2 MASTER_ADDR=localhost MASTER_PORT=$((20000 + RANDOM % 12000))
    # shellcheck disable=SC2086
    {
        RANK=1 LOCAL_RANK=1 "$root/build/san/train_gpt" $tiny --device cuda --out "$out" "$@" ${odd:-} >"$out.1.txt" 2>&1 &
        other=$!
        RANK=0 LOCAL_RANK=0 "$root/build/san/train_gpt" $tiny --device cuda --out "$out" "$@" >"$out.txt" 2>&1
        status=$?
    }
    wait $other || status=1
    unset WORLD_SIZE MASTER_ADDR MASTER_PORT ASAN_OPTIONS
    return $status
}

# N STAGE BATCH ACCUM OPTIONS against one process on the CPU
gpus_equal() {
    local n=$1 z=$2 batch=$3 accum=$4 why
    shift 4
    local name="$n emulated GPUs, stage $z, $accum micro-batches $*"
    set -- --eval-every 2 --steps 4 --checkpoint-every 4 "$@"
    rm -rf one
    # shellcheck disable=SC2086
    if ! "$root/build/release/train_gpt" $tiny --device cpu --batch $((batch * n)) --accum $accum --out one "$@" >one.txt 2>&1 ||
        ! on_gpus $n many --batch $batch --accum $accum --zero $z "$@"; then
        not_ok "$name: $(grep -m1 -E 'train_|NCCL|ERROR' many.txt || tail -1 many.txt)"
    elif ! why=$(alike one many); then
        not_ok "$name: $why"
    elif ! planned_is_used many; then
        not_ok "$name: handed out is not what was planned"
    elif ! grep -q '"comm_ms":[0-9]' many/log.jsonl; then
        not_ok "$name: the log does not say how long a rank waited"
    else
        ok "$name"
    fi
}
if [ -x "$root/build/san/train_gpt" ] && grep -q 'emulated NCCL' "$root/build/san/train_gpt"; then
    [ "$(moved many)" = $((2 * 5076 * 4 + SUMS + 2 * 16 * 8)) ] && ok 'bytes moved, where graphs are launched' ||
        not_ok "bytes moved, where graphs are launched: $(moved many)"
    if [ "${LONG:-0}" = 1 ]; then
        for z in 0 1 2 3; do
            for n in 2 3 4; do
                gpus_equal $n $z 1 2 --optim adamw --grad-clip 0.5
                gpus_equal $n $z 1 1 --optim adamw_r --bucket 1
            done
        done
    fi
    # gradients travel beside the computation: the same bits however early or late, other bits if
    # either of the two streams does not wait for the other
    two="--steps 2 --batch 1 --zero 2 --bucket 1 --eval-every 0"
    # shellcheck disable=SC2086
    {
        on_gpus 2 late $two --optim adamw_r
        local_gpus again $two --optim adamw --gradients own && same_bits late again
        [ $? = 0 ] && ok '--gpus 2, own gradients: the same bits as by mpirun, released' || not_ok "--gpus 2: $(tail -1 again.txt)"
        CUDASIM_EAGER_STREAM=1 by_environment again $two --no-cuda-graph --optim adamw --gradients overlay && same_bits late again
        [ $? = 0 ] && ok 'RANK, WORLD_SIZE, ...: overlay, gradients sent as early as can be: the same bits' ||
            not_ok "RANK, WORLD_SIZE, ...: $(tail -1 again.txt again.1.txt)"
        CUDASIM_EAGER_STREAM=1 CUDASIM_DEAF_STREAM=1 on_gpus 2 again $two --no-cuda-graph --optim adamw_r &&
            ! same_bits late again && ok 'gradients that do not wait for backward are seen' || not_ok 'a missing wait is not seen: of communication'
        CUDASIM_DEAF_STREAM=0 on_gpus 2 again $two --no-cuda-graph --optim adamw_r &&
            ! same_bits late again && ok 'an update that does not wait for gradients is seen' || not_ok 'a missing wait is not seen: of computation'
        odd='--lr 0.5' by_environment again $two
        [ $? = 1 ] && [ "$(cat again.txt again.1.txt | grep -c '^train_gpt: ')" = 1 ] &&
            grep -q 'rank 1 was given another --lr than rank 0' again.txt && ok 'RANK, WORLD_SIZE, ...: another option' ||
            not_ok "RANK, WORLD_SIZE, ...: another option: $(tail -1 again.txt)"
    }
    "$root/build/release/"$gpt $common --gpus 2 --out refused >out.txt 2>&1
    [ $? = 1 ] && [ "$(wc -l <out.txt)" = 1 ] && grep -q 'mpirun -np 2 train_gpt' out.txt && ok '--gpus on CPUs: what to do' ||
        not_ok "--gpus on CPUs: $(tail -1 out.txt)"

    # lost NAME SIGNAL WORDS: rank 1 of two gets a signal in the middle
    lost() {
        local status job pid
        rm -rf long
        local_gpus long --steps 1000000 --batch 1 --eval-every 0 --checkpoint-every 2 --no-cuda-graph --watchdog 2 &
        job=$!
        for _ in $(seq 300); do
            [ -d long/step_00000002 ] && break
            sleep 0.1
        done
        pid=$(pgrep -P "$(pgrep -P $job train_gpt)" train_gpt | sed -n 2p)
        kill "-$2" "$pid"
        timeout 30 tail --pid=$job -f /dev/null || not_ok "$1: still there after 30 s"
        wait $job
        status=$?
        [ $status = 1 ] && grep -q "$3" long.txt && [ -f "$(find long -name manifest.json | tail -1)" ] && ok "$1" ||
            not_ok "$1: status $status: $(tail -2 long.txt)"
    }
    lost '--gpus: a rank is killed' KILL 'rank 1 has gone while rank 0 was '
    grep -q 'rank 1 was ended by signal 9' long.txt && ok '--gpus: what killed it is told' || not_ok '--gpus: what killed it is not told'
    lost '--gpus: a rank is stopped' STOP 'rank 1 gave no sign for 2 s while rank 0 was '
else
    echo 'skip emulated GPUs: build/san is not built with the emulator'
fi

exit $bad
