#!/usr/bin/env bash
# edges.sh - where a run meets the machine: nothing is lost, nothing is silent.
#
#     test/edges.sh [data|ranks|renamed|temporaries|closed|full|sizes|kill|faults|signals|network|memory]
#
# Each check fails on a build that does not have what it is for.  A tmpfs of its own size for a full
# disk takes a name space of mounts: where there is none, those checks are skipped.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
programs=${PROGRAMS:-$root/build/release}
work=$(mktemp -d) || exit 1
pid=''
trap '[ -z "$pid" ] || kill -9 $pid 2>/dev/null; wait; rm -rf "$work"' EXIT
bad=0
cd "$work" || exit 1

ok() { echo "ok $1"; }
not_ok() { echo "not ok $1: $2"; bad=1; }
skip() { echo "skip $1: $2"; }
# check TITLE COMMAND...: fine if the command says so
check() { local title=$1; shift; if "$@"; then ok "$title"; else not_ok "$title" "$(tail -n 2 out err 2>/dev/null | tr '\n' '~' | head -c 400)"; fi; }

"$programs/tokenize" --vocab bpe:300 -o d "$root"/README.md "$root"/docs/*.md >/dev/null || { echo "not ok data"; exit 1; }
tiny=(--layers 1 --heads 2 --width 16 --context 16 --vocab 300 --batch 2 --threads 1 --device cpu --warmup 2 --train-data d_train.bin --eval-every 0)
train() { "$programs/train_gpt" "${tiny[@]}" "$@"; }
# start OPTIONS...: the same beside this script; its process is $pid (a function's would be a shell)
start() { "$programs/train_gpt" "${tiny[@]}" "$@" >out 2>err & pid=$!; }

byte() { printf '%b' "\\0$(printf %o "$1")"; }
be32() { byte $(($1 >> 24 & 255)); byte $(($1 >> 16 & 255)); byte $(($1 >> 8 & 255)); byte $(($1 & 255)); }

# few_images N: as idx files x-...
few_images() {
    { be32 $((0x803)); be32 "$1"; be32 28; be32 28; head -c $(($1 * 784)) d_train.bin; } >x-images-idx3-ubyte
    { be32 $((0x801)); be32 "$1"; for ((i = 0; i < $1; i++)); do byte $((i % 10)); done; } >x-labels-idx1-ubyte
}

lines() { grep -c . "$1" 2>/dev/null || true; }
# wait_for FILE N: until the file has n lines (a minute at most)
wait_for() {
    local i
    for ((i = 0; i < 1200; i++)); do
        [ "$(lines "$1")" -ge "$2" ] 2>/dev/null && return 0
        sleep 0.05
    done
    return 1
}
# wait_said WORDS: until the run has said them in `out`
wait_said() {
    local i
    for ((i = 0; i < 1200; i++)); do
        grep -q -e "$1" out 2>/dev/null && return 0
        sleep 0.05
    done
    return 1
}
last_sample() { sed -nE 's/.*sample after step ([0-9]+) .*/\1/p' out | tail -n 1; }
# whole_log FILE N: has each step from 1 to n once
whole_log() { [ "$(sed -nE 's/^\{"step":([0-9]+),"loss".*/\1/p' "$1" | tr '\n' ' ')" = "$(seq -s ' ' 1 "$2") " ]; }

# ---- what a run holds ----

# replaced FILE: its middle, by another part of itself
replaced() { cp "$1" part && dd if=part of="$1" bs=100 skip=50 seek=40 count=100 conv=notrunc 2>/dev/null; rm part; }

edge_data() {
    cp d_train.bin x_train.bin
    local on=(--train-data x_train.bin --checkpoint-every 2 --out run)
    train "${on[@]}" --steps 2 >out 2>err
    sed -i 's/"xxh3":"[0-9a-f]*"/"xxh3":"0123456789abcdef"/' run/data.json
    train "${on[@]}" --steps 4 --resume auto >out 2>err
    check "data: what is known of unchanged files is taken" grep -q '^train_gpt: cannot resume from .*data was "xxh3:.* is "xxh3:0123456789abcdef" now' err
    touch x_train.bin
    train "${on[@]}" --steps 4 --resume auto >out 2>err
    check "data: touched, not changed: resumed" [ $? -eq 0 ]
    replaced x_train.bin
    train "${on[@]}" --steps 6 --resume auto >out 2>err
    check "data: the middle of a shard is replaced: status" [ $? -eq 1 ]
    check "data: the middle of a shard is replaced: it is seen" grep -q '^train_gpt: cannot resume from .*: data was ' err
    rm -rf run x_train.bin
}

# ranks OPTIONS -- OPTIONS: two of them, the second in ./other; its own options follow
ranks() {
    local first=()
    while [ $# -gt 0 ] && [ "$1" != -- ]; do first+=("$1"); shift; done
    shift
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe \
        -np 1 "$programs/train_gpt" "${tiny[@]}" "${first[@]}" : \
        -np 1 -wdir "$work/other" "$programs/train_gpt" "${tiny[@]}" "${first[@]}" "$@" >out 2>err
}
# refused TITLE WORDS STATUS: of ranks
refused() { check "ranks: $1: status 1, one line" [ "$3" = 1 -a "$(grep -c '^train_gpt: ' err)" = 1 ]; check "ranks: $1: who" grep -qE "^train_gpt: rank 1 has $2" err; }

edge_ranks() {
    local stage status
    if ! command -v mpirun >/dev/null || ! grep -aq MPI_Init "$programs/train_gpt"; then skip "ranks" "built without MPI"; return; fi
    mkdir other && cp d* other
    train --steps 2 --checkpoint-every 1 --seed 1 --out m >out 2>err
    (cd other && train --steps 2 --checkpoint-every 1 --seed 2 --out m) >out 2>err
    for stage in 0 3; do
        ranks --load m --zero $stage --steps 2 --out run --
        refused "other weights, stage $stage" "other weights than rank 0" $?
    done
    rm -rf run && cp -r m run
    mkdir other/run && cp -r m/step_* other/run # its options are the same: those are compared before
    echo >>other/run/step_00000002/manifest.json
    ranks --steps 4 --resume run/step_00000002 --out run --
    refused "another checkpoint" 'another run/step_00000002 than rank 0, or none' $?
    rm -rf other/run && cp -r run other/run && cp other/m/step_00000002/model.safetensors other/run/step_00000002
    ranks --steps 4 --batch 1 --resume run/step_00000002 --out run --
    status=$?
    check "ranks: a copy of the checkpoint that is damaged" [ $status = 1 -a "$(grep -c '^train_gpt: rank 1: .*is damaged' err)" = 1 ]
    cp run/step_00000002/model.safetensors other/run/step_00000002
    ranks --steps 4 --batch 1 --resume run/step_00000002 --out run --
    check "ranks: a whole copy of the checkpoint" [ $? = 0 ]
    rm -rf run other/run
    replaced other/d_val.bin
    ranks --steps 2 --eval-every 1 --val-data d_val.bin --out run --
    refused "other validation data" "other validation data" $?
    cp d_val.bin other
    echo >>other/d.vocab
    ranks --steps 2 --out run --
    refused "another tokenizer" "other .*tokenizer" $?
    cp d.vocab other
    ranks --steps 10 --sample-every 1 --sample-tokens 1000000 --out run -- &
    pid=$!
    wait_said 'sample after step 1 '
    kill -TERM "$(pgrep -P "$(pgrep -P $pid mpirun)" train_gpt | tail -n 1)"
    wait $pid
    check "ranks: SIGTERM to one in a sample: status" [ $? = 0 ]
    check "ranks: SIGTERM to one in a sample: a checkpoint" [ -s run/step_00000001/manifest.json ]
    pid=''
    rm -rf run
    for status in 1 2; do
        for stage in '' ' alone'; do
            OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe -np 2 "$programs/test_comm" "status $status$stage" >out 2>err
            check "ranks: status $status$stage" [ $? = $status ]
        done
    done
    rm -rf other m
}

# ---- the directory ----

edge_renamed() {
    rm -rf run moved
    start --width 128 --batch 8 --steps 300 --checkpoint-every 100 --out run
    wait_for run/log.jsonl 5
    mv run moved
    wait $pid
    check "renamed: status" [ $? -eq 0 ]
    check "renamed: nothing under the old name" [ ! -e run ]
    check "renamed: the whole log" whole_log moved/log.jsonl 300
    check "renamed: checkpoint and model" [ -s moved/step_00000300/manifest.json -a -s moved/model.safetensors ]
    check "renamed: it is said" grep -q 'the run continues in .*moved' out
    rm -rf run moved
}

edge_temporaries() {
    mkdir -p run/best
    echo x >run/model.safetensors.tmp.4711
    echo x >run/best/model.safetensors.tmp.4711
    echo x >run/best/notes.tmp.5
    echo x >run/classes.txt.tmp.4
    echo x >run/options.json.tmp.12
    echo x >run/data.json.tmp.13
    echo x >run/notes.tmp.5
    echo x >run/model.safetensors.tmp.old
    train --steps 2 --out run >out 2>err
    check "temporary files of killed runs go" [ ! -e run/model.safetensors.tmp.4711 -a ! -e run/best/model.safetensors.tmp.4711 -a ! -e run/classes.txt.tmp.4 -a ! -e run/options.json.tmp.12 -a ! -e run/data.json.tmp.13 ]
    check "and no others" [ -e run/notes.tmp.5 -a -e run/best/notes.tmp.5 -a -e run/model.safetensors.tmp.old ]
    rm -rf run
}

# ---- descriptors ----

# closed TITLE FILE COMMAND...: with each set of descriptors closed it leaves the same FILE, byte for byte
closed() {
    local title=$1 file=$2 which status
    shift 2
    rm -rf left kept
    "$@" <&0 >out 2>err
    mv left kept
    for which in '<&-' '>&-' '2>&-' '<&- >&-' '<&- 2>&-' '>&- 2>&-' '<&- >&- 2>&-'; do
        rm -rf left
        eval '"$@" '"$which"
        status=$?
        check "$title, $which: status" [ $status -eq 0 ]
        check "$title, $which: the same $file" cmp -s "$file" "${file/left/kept}"
    done >>closed.txt 2>&1
    if grep '^not ok' closed.txt; then bad=1; else ok "$title"; fi
    rm -rf left kept closed.txt
}

# nowhere TITLE PROGRAM OPTIONS...: without a standard output for its result the program says so
nowhere() {
    local title=$1
    shift
    "$programs/$1" "${@:2}" >&- 2>err
    check "$title without a standard output: status, one line" [ $? = 1 -a "$(grep -c "^$1: .*standard output" err)" = 1 ]
    "$programs/$1" "${@:2}" <&- >&- 2>&-
    check "$title without any: status" [ $? = 1 ]
}

tokenize_here() { mkdir left && "$programs/tokenize" "$@"; }

edge_closed() {
    local vit=("$programs/train_vit" --model vit-nano/4 --threads 1 --device cpu --train-data x-images-idx3-ubyte --eval-every 0)
    train --steps 2 --out m >out 2>err
    closed "closed descriptors: train_gpt" left/model.safetensors train --steps 2 --sample-every 1 --sample-tokens 4 --out left
    closed "closed descriptors: tokenize" left/x_train.bin tokenize_here --vocab bpe:280 -o left/x d.vocab
    closed "closed descriptors: export" left/model.safetensors "$programs/export" m left
    few_images 8
    closed "closed descriptors: train_vit" left/predictions.txt "${vit[@]}" --batch 2 --steps 2 --predict 3 --val-data x-images-idx3-ubyte --out left
    train --steps 5 --out run <&- >&- 2>&-
    check "closed descriptors: the log has its lines alone" [ "$(grep -vc '^{"step":.*}$' run/log.jsonl)" = 0 ]
    # what is written to the standard output is the result, and has nowhere to go: that is told, and no file is written into
    "${vit[@]}" --batch 2 --steps 2 --out v >out 2>err
    ls -lR m v d* >before
    nowhere "closed descriptors: generate" generate --load m --vocab d.vocab --prompt a --tokens 5 --threads 1
    nowhere "closed descriptors: generate --eval" generate --load m --vocab d.vocab --eval d_val.bin --threads 1
    nowhere "closed descriptors: predict" predict --load v --eval x-images-idx3-ubyte
    nowhere "closed descriptors: tokenize --decode" tokenize --decode --vocab d.vocab d_val.bin
    nowhere "closed descriptors: --plan" train_gpt --plan --model gpt-nano
    check "closed descriptors: what is read is as it was" cmp -s before <(ls -lR m v d*)
    "$programs/generate" --load m --vocab d.vocab --prompt a --tokens 5 --threads 1 <&- 2>&- >out
    check "closed descriptors: generate: its text" [ -s out ]
    rm -rf run m v x-* before
}

# ---- a full disk ----

mounts() { unshare -rm sh -c "mkdir -p m && mount -t tmpfs -o size=$1 tmpfs m" 2>/dev/null; }
# on_disk SIZE COMMAND: in a name space with a tmpfs of that size at ./disk
on_disk() { unshare -rm bash -c 'mkdir -p disk && mount -t tmpfs -o size='"$1"' tmpfs disk && '"$2"; }

edge_full() {
    local size model step least
    if ! mounts 1m; then skip "full disk" "no name spaces of mounts here"; return; fi
    train --width 64 --steps 20 --checkpoint-every 20 --out run >/dev/null 2>&1
    step=$(du -sk run/step_00000020 | cut -f1)
    model=$(du -sk run/model.safetensors | cut -f1)
    rm -rf run
    export -f train
    export programs
    # room for two checkpoints, or one and the model, and some KiB of reports: never for three
    least=$((2 * step + model / 2 + 120))
    for size in $least $((least + step / 2)) $((least + step - 40)); do
        on_disk "${size}k" "$(declare -p tiny); train --width 64 --steps 80 --checkpoint-every 20 --keep 2 --out disk/run >out 2>err; echo \$? >status; ls disk/run >left; [ -s disk/run/model.safetensors ] && cp disk/run/model.safetensors model; ls disk/run/step_00000080/manifest.json >>left 2>&1"
        check "full disk: $size KiB: status" [ "$(cat status)" = 0 ]
        check "full disk: $size KiB: model" [ -s model ]
        check "full disk: $size KiB: the newest checkpoint" grep -q 'step_00000080/manifest' left
        rm -f model status left
    done
    # the disk is full for longer than the log can wait; samples say how far the run has come
    export -f wait_said last_sample
    on_disk 2m "$(declare -p tiny)
        head -c 400000 /dev/zero >disk/filler
        \"$programs/train_gpt\" \"\${tiny[@]}\" --steps 100000000 --schedule constant --sample-every 1000 --sample-tokens 1 --out disk/run >out 2>err & pid=\$!
        wait_said 'sample after step 1000 '
        cat /dev/zero >>disk/filler 2>/dev/null
        full=\$(last_sample)
        wait_said \"sample after step \$((full + 10000)) \"
        rm disk/filler
        kill -TERM \$pid
        wait \$pid; echo \$? >status; ls disk/run/step_*/manifest.json >left 2>&1"
    check "full disk for thousands of steps: status" [ "$(cat status)" = 0 ]
    check "full disk for thousands of steps: a checkpoint" grep -q manifest left
    check "full disk for thousands of steps: lost lines are counted" grep -qE 'log.jsonl lacks [0-9]+ lines' out
    rm -f status left
}

# ---- kill -9 at any moment ----

# Rows of options; the run must come to the same bits however often it is killed and resumed.
kill_rows=(
    '--optim adamw' '--optim adamw_r --gradients release' '--optim adan --grad-clip 0.5' '--optim lion_r'
    '--optim muon' '--optim sgd --keep 1' '--optim adama --accum 2 --gradients fold' '--state int8'
    '--dtype bf16 --master split16' '--dtype bf16 --master split8 --state bf16' '--sparsity 0.5 --regrow-every 2'
    '--freeze wte* --recompute block' '--eval-every 2 --val-data d_val.bin --sample-every 3 --sample-tokens 5 --accum 2'
    '--eval-every 1 --val-data d_val.bin --save-best --tensorboard run/board' '--load base --lora 2' 'vit')

# killed N OPTIONS: N kills of a run with these options
killed() {
    local n=$1 done=0 whole=0 begun wait_us took file=model.safetensors row=("$programs/train_gpt" "${tiny[@]}" --layers 2)
    shift
    if [ "$1" = vit ]; then
        row=("$programs/train_vit" --model vit-nano/4 --threads 1 --device cpu --batch 2 --mixup 0.3 --flip --train-data x-images-idx3-ubyte --eval-every 0)
        shift
    fi
    [ "${1:-}" != --load ] || file=adapter_model.safetensors
    row+=(--steps 8 --checkpoint-every 1 "$@")
    rm -rf run one
    begun=${EPOCHREALTIME/./}
    "${row[@]}" --out one >out 2>err || { tail -n 1 err; return 1; }
    took=$((${EPOCHREALTIME/./} - begun))
    while [ $done -lt "$n" ] || [ $whole -eq 0 ]; do
        wait_us=$((RANDOM * RANDOM % (took + 20000)))
        "${row[@]}" --resume auto --out run >out 2>err &
        pid=$!
        if [ $done -lt "$n" ]; then
            sleep $((wait_us / 1000000)).$(printf %06d $((wait_us % 1000000)))
            kill -$signal $pid 2>/dev/null
        fi
        wait $pid 2>/dev/null
        case $? in
        129 | 130 | 137 | 143) done=$((done + 1)) ;; # others than KILL: before it listened, so before anything was written
        0)
            [ -e run/$file ] || { done=$((done + 1)) && grep -q "stopped by SIG$signal" out || return 1; continue; }
            cmp one/$file run/$file || return 1
            [ ! -e one/best ] || cmp one/best/$file run/best/$file || return 1
            [ -z "$(find run -name '*.tmp.*')" ] || { find run -name '*.tmp.*'; return 1; }
            whole_log run/log.jsonl 8 || { echo "the log of run"; return 1; }
            whole=$((whole + 1))
            rm -rf run
            ;;
        *) tail -n 1 err; return 1 ;;
        esac
    done
    kills=$((kills + done)) wholes=$((wholes + whole))
}

edge_kill() {
    local each=1 row kills=0 wholes=0 signal=9
    [ "${LONG:-0}" = 1 ] && each=72
    RANDOM=${SEED:-$$}
    echo "# kill: SEED=${SEED:-$$}"
    few_images 24
    train --layers 2 --steps 1 --out base >out 2>err
    for row in "${kill_rows[@]}"; do
        # shellcheck disable=SC2086 # words
        { killed $each $row >why; } 2>/dev/null && ok "kill -9: $row" || not_ok "kill -9: $row" "$(cat why)"
    done
    echo "# kill: $kills kills, $wholes runs that came to their end, all to the same bits"
    # asked to stop in whatever it does: planning, a step, an evaluation, a sample, a checkpoint, the last file
    for signal in TERM INT HUP; do
        kills=0 wholes=0
        { killed $((2 * each)) --eval-every 2 --val-data d_val.bin --sample-every 3 --sample-tokens 50 >why; } 2>/dev/null &&
            ok "SIG$signal at any moment" || not_ok "SIG$signal at any moment" "$(cat why)"
        echo "# kill: $kills times SIG$signal, $wholes runs that came to their end, all to the same bits"
    done
    rm -rf run one base x-*
}

# ---- a disk of any size ----

edge_sizes() {
    local size need steps=4 row
    if ! mounts 1m; then skip "a disk of any size" "no name spaces of mounts here"; return; fi
    row="train --steps 4 --checkpoint-every 1 --keep 2 --out disk/run"
    [ "${LONG:-0}" = 1 ] && steps=60
    export -f train
    export programs
    train --steps 4 --out one >out 2>err
    on_disk 4m "$(declare -p tiny); $row >/dev/null 2>&1; du -sk disk >used"
    need=$(cut -f1 used)
    for ((i = 1; i <= steps; i++)); do
        size=$(((need + 40) * i / steps / 4 * 4 + 4))
        # what did not fit is told, and with more room the run comes to the same end
        on_disk "${size}k" "$(declare -p tiny); $row >out 2>err; echo \$? >status
            mount -o remount,size=4m disk
            $row --resume auto >again 2>again.err || echo \$? >>status
            cp disk/run/model.safetensors model"
        case $(tr '\n' ' ' <status) in
        '0 ') ;;
        '0 1 ') grep -q 'is further on already\|steps' again.err || { not_ok "a disk of $size KiB" "$(cat again.err)"; continue; } ;;
        '1 ') [ "$(grep -c '^train_gpt: ' err)" = 1 ] || { not_ok "a disk of $size KiB" "$(tail -n 1 err)"; continue; } ;;
        *) not_ok "a disk of $size KiB" "status $(tr '\n' ' ' <status): $(tail -n 1 err) $(tail -n 1 again.err)"; continue ;;
        esac
        check "a disk of $size of $need KiB" cmp -s one/model.safetensors model
        rm -f model
    done
    rm -rf one used
}

# ---- no network ----

edge_network() {
    local san=${programs%/*}/san/train_gpt
    WORLD_SIZE=2 RANK=0 MASTER_ADDR=127.0.0.1 MASTER_PORT=none train --steps 2 --out run >out 2>err
    check "WORLD_SIZE on the CPU: status" [ $? -eq 1 ]
    check "WORLD_SIZE on the CPU: MPI is wanted, before anybody is looked for" [ "$(grep -c '^train_gpt: .*mpirun' err)" = 1 ]
    if ! unshare -rn true 2>/dev/null; then skip "no network" "no name spaces of networks here"; return; fi
    unshare -rn "$programs/train_gpt" "${tiny[@]}" --steps 2 --out run >out 2>err
    check "no network: one process needs none" [ $? -eq 0 ]
    rm -rf run
    if [ ! -x "$san" ] || ! grep -q 'emulated NCCL' "$san"; then skip "no network, several ranks" "no emulator of GPUs"; return; fi
    ASAN_OPTIONS=detect_leaks=0 timeout 100 unshare -rn "$san" "${tiny[@]/cpu/cuda}" --gpus 2 --steps 2 --out run >out 2>err
    check "no network: several ranks: status" [ $? -eq 1 ]
    check "no network: several ranks: it is told" grep -q '^train_gpt: ' err
    rm -rf run
}

# ---- every call fails once ----

# struck KIND TITLE FILE COMMAND...: with each call of the kind (test/preload/faults.c) failing in turn the command says
# so (status 1, or 2 where it is no mistake of the user's, and a word of why), or leaves FILE as it is without a failure;
# and afterwards it does its work
struck() {
    local kind=$1 title=$2 file=$3 calls i status last=0 log=$work/calls errno step before_runs=$runs errnos
    shift 3
    restore() { rm -rf left "$log" && { [ ! -d before ] || cp -r before left; }; }
    # run N ERRNO: with the N-th call failing; 0: none
    struck_run() {
        restore
        timeout 60 env FAULT_KIND=$kind FAULT_AT="$1" FAULT_ERRNO="$2" FAULT_LOG="$log" LD_PRELOAD="$work/faults.so" "${@:3}" >out 2>err
    }
    struck_run 0 0 "$@" || { not_ok "faults of $kind: $title" "$(tail -n 1 err)"; return; }
    calls=$(cut -d ' ' -f 1 "$log" | sort -n | tail -n 1)
    [ -n "$calls" ] || { not_ok "faults of $kind: $title" "its calls were not counted"; return; }
    [ "$calls" -gt 0 ] || return # it makes none of these
    cp "$file" one.file
    case $kind in files) errnos=5 ;; memory) errnos=12 ;; threads) errnos=11 ;; system) errnos=22 ;; network) errnos=104 ;; esac
    if [ "${LONG:-0}" = 1 ]; then
        case $kind in files) errnos='5 28 12' ;; network) errnos='104 24 12' ;; esac
    fi
    step=$((stride < calls ? stride : calls)) # at least one of them
    # the last two are always among them: what is finished there can fail without anything after it that tells
    for i in $( (seq $((1 + RANDOM % step)) $step $calls; seq $((calls > 1 ? calls - 1 : 1)) $calls) | sort -nu); do
        for errno in $errnos; do
            struck_run $i "$errno" "$@"
            status=$?
            last="call $i, $(grep -v ' none' "$log" | head -n 1 | cut -d ' ' -f 2), error $errno: status $status: $(tail -n 1 err)"
            case $status in
            0) cmp -s "$file" one.file || { not_ok "faults of $kind: $title" "$last: another $file"; return; } ;;
            1 | 2) [ -s err ] || { not_ok "faults of $kind: $title" "$last: without a word"; return; } ;;
            *) not_ok "faults of $kind: $title" "$last"; return ;;
            esac
            [ "$status" = 0 ] || [ "${again:-}" != yes ] || { "$@" >out 2>err && cmp -s "$file" one.file; } ||
                { not_ok "faults of $kind: $title" "$last: then, without a failure: $(tail -n 1 err)"; return; }
            runs=$((runs + 1))
        done
    done
    check "faults of $kind: $title, $((runs - before_runs)) times in $calls calls" [ "$runs" -gt "$before_runs" ]
}

# of N: one call of N is struck, in the long test each
of() { stride=$1 && [ "${LONG:-0}" != 1 ] || stride=1; }

edge_faults() {
    local stride runs=0 again two=("$programs/train_gpt" "${tiny[@]}" --threads 2 --steps 3 --checkpoint-every 1 --resume auto --sample-every 2 --sample-tokens 3 --out left)
    RANDOM=${SEED:-$$}
    if ! cc -D_GNU_SOURCE -O1 -shared -fPIC -o faults.so "$root/test/preload/faults.c" -ldl 2>err; then not_ok "faults" "$(tail -n 1 err)"; return; fi
    train --steps 2 --checkpoint-every 2 --out m >out 2>err
    "$programs/train_vit" --model vit-nano/4 --threads 1 --device cpu --batch 2 --steps 1 --eval-every 0 --train-data "$(few_images 8; echo x-images-idx3-ubyte)" --out v >out 2>err
    rm -rf before
    again=yes
    of 61 && struck files "train_gpt" left/model.safetensors "${two[@]}"
    of 400 && struck memory "train_gpt" left/model.safetensors "${two[@]}"
    of 1 && struck threads "train_gpt" left/model.safetensors "${two[@]}"
    of 400 && struck system "train_gpt" left/model.safetensors "${two[@]}"
    again=no
    for kind in files memory threads system; do
        case $kind in files) of 61 ;; *) of 500 ;; esac
        struck $kind "tokenize" left_train.bin "$programs/tokenize" --vocab bpe:270 -o left d.vocab
        struck $kind "generate" out "$programs/generate" --load m --prompt a --tokens 5 --threads 2
        struck $kind "predict" out "$programs/predict" --load v --eval x-images-idx3-ubyte
        struck $kind "export" left/model.safetensors "$programs/export" m left
    done
    of 9 && struck network "ranks over TCP" out "$programs/test_comm" launched
    cp -r m before
    again=yes
    of 61 && struck files "a resumed run" left/model.safetensors "$programs/train_gpt" "${tiny[@]}" --steps 4 --checkpoint-every 2 --resume auto --out left
    rm -rf before left* m v x-* one.file
    echo "# faults: SEED=${SEED:-$$}, $runs runs with a failing call"
}

# ---- signals ----

edge_signals() {
    local signal
    for signal in HUP TERM INT; do
        start --steps 1000000 --out run
        wait_for run/log.jsonl 5
        kill -$signal $pid
        wait $pid
        check "SIG$signal: status" [ $? -eq 0 ]
        check "SIG$signal: a checkpoint, and it is said" grep -q "stopped by SIG$signal" out
        rm -rf run
    done
    # an evaluation that takes minutes, a sample of hours
    start --width 256 --context 256 --layers 4 --batch 1 --steps 10 --eval-every 1 --eval-batches 1000000 --val-data d_train.bin --out run
    wait_for run/log.jsonl 1
    kill -TERM $pid
    wait $pid
    check "SIGTERM in an evaluation: status" [ $? -eq 0 ]
    check "SIGTERM in an evaluation: it is left" [ "$(grep -c val_loss run/log.jsonl)" = 0 ]
    check "SIGTERM in an evaluation: a checkpoint" [ -s run/step_00000001/manifest.json ]
    rm -rf run
    start --steps 10 --sample-every 1 --sample-tokens 1000000 --out run
    wait_said 'sample after step 1 '
    kill -TERM $pid
    wait $pid
    check "SIGTERM in a sample: status" [ $? -eq 0 ]
    check "SIGTERM in a sample: a checkpoint" [ -s run/step_00000001/manifest.json ]
    rm -rf run
    { train --steps 1000000 --out run 2>err; echo $? >status; } | head -n 3 >/dev/null
    check "a closed pipe: status" [ "$(cat status)" = 0 ]
    check "a closed pipe: a checkpoint" compgen -G 'run/step_*/manifest.json'
    rm -rf run
    (ulimit -f 16; train --width 64 --steps 3 --out run >out 2>err)
    check "files of 16 KiB at most: status" [ $? -eq 1 ]
    check "files of 16 KiB at most: one line" grep -q '^train_gpt: .*File too large' err
    rm -rf run
}

# ---- memory ----

edge_memory() {
    local peak size
    for size in 30 34 48; do
        "$programs/train_gpt" --model gpt-nano --vocab 300 --threads 1 --device cpu --train-data d_train.bin --eval-every 0 --steps 3 --memory ${size}M --out run >out 2>err
        peak=$(sed -nE 's/.*process ([0-9]+)\..*/\1/p' out)
        check "--memory ${size}M: the process has no more at its peak" [ "${peak:-1000}" -lt $size ]
        rm -rf run
    done
    # what the images take counts, too: 20,000 of them, 16 MB
    { be32 $((0x803)); be32 20000; be32 28; be32 28; head -c $((20000 * 784)) /dev/zero; } >x-images-idx3-ubyte
    { be32 $((0x801)); be32 20000; head -c 20000 /dev/zero; } >x-labels-idx1-ubyte
    local vit=("$programs/train_vit" --model vit-nano/4 --threads 1 --device cpu --train-data x-images-idx3-ubyte --eval-every 0 --steps 2 --out run)
    "${vit[@]}" --memory 52M >out 2>err
    peak=$(sed -nE 's/.*process ([0-9]+)\..*/\1/p' out)
    check "--memory with images: the process has no more at its peak" [ "${peak:-1000}" -lt 52 ]
    "${vit[@]}" --memory 28M >out 2>err
    check "--memory with images: less than they take is refused" grep -q '^train_vit: --memory 28M: nothing fits: .* the process takes .* and its data 1[0-9]\.' err
    { be32 $((0x803)); be32 200000; be32 16384; be32 16384; } | gzip >x-images-idx3-ubyte
    "${vit[@]}" >out 2>err
    check "images of terabytes, said by 40 bytes: refused" grep -q '^train_vit: the data takes .* MiB in memory' err
    rm -rf run x-*
    (ulimit -v 600000; "$programs/train_gpt" --model gpt2-124m --device cpu --threads 1 --train-data d_train.bin --batch 1 --seq 8 --steps 1 --out run >out 2>err)
    check "ulimit -v: status" [ $? -eq 1 ]
    check "ulimit -v: refused before it is taken, with a way out" grep -qE '^train_gpt: the plan needs .* MiB are free' err
    (ulimit -v 700000; "$programs/train_gpt" --plan --model gpt-mini --device cpu --threads 1 --memory auto --product-rate 100 --stream-rate 10 >out 2>err)
    check "--memory auto knows ulimit -v" grep -qE '^memory: [1-6][0-9]{2}\.' out
    check "--memory auto says that it is ulimit -v" grep -qE "^the process's memory: [1-6][0-9]{2}\..* are free: ulimit -v has 683\.6 MiB, of which [0-9.]+ are taken$" out
    (ulimit -v unlimited; "$programs/train_gpt" --plan --model gpt-mini --device cpu --threads 1 --memory auto --product-rate 100 --stream-rate 10 >out 2>err)
    check "--memory auto says what the machine has, or its group" grep -qE "^the process's memory: .* are free: (the machine|its control group) has [0-9.]+ MiB, of which [0-9.]+ are taken$" out
    "$programs/train_gpt" --plan --model gpt-mini --device cpu --threads 1 --memory 1G --product-rate 100 --stream-rate 10 >out 2>err
    check "a size that is given is no limit that was found" [ "$(grep -c 'are free' out)" = 0 ]
    (ulimit -v 100000; timeout 60 "$programs/tokenize" -o small "$root"/README.md >out 2>err)
    check "ulimit -v: what multiplies nothing needs little" [ $? -eq 0 ]
    rm -rf run
    # version 2, as it looks from inside: files of this script's in the place of the system's
    if grep -q '^0::' /proc/self/cgroup 2>/dev/null && unshare -rm mount -t tmpfs t /sys/fs/cgroup 2>/dev/null; then
        for size in 300 max; do
            unshare -rm bash -c 'mount -t tmpfs t /sys/fs/cgroup && cd /sys/fs/cgroup &&
                if [ '$size' = max ]; then echo max; else echo $(('${size/max/0}' << 20)); fi >memory.max &&
                echo $((100 << 20)) >memory.current && printf "anon 1\nfile $((60 << 20))\n" >memory.stat &&
                cd '"$work"' && exec "$@"' sh "$programs/train_gpt" --plan --model gpt-mini --device cpu --threads 1 --memory auto --product-rate 100 --stream-rate 10 >out.$size 2>err
        done
        # 300 - (100 - 60): the same as when that was said, of which what the process takes is left out
        "$programs/train_gpt" --plan --model gpt-mini --device cpu --threads 1 --memory 260M --product-rate 100 --stream-rate 10 >out 2>err
        check "control group of version 2: --memory auto" cmp -s <(grep '^memory: ' out) <(grep '^memory: ' out.300)
        check "control group of version 2: is named" grep -q "^the process's memory: 260.0 MiB are free: its control group has 300.0 MiB, of which 40.0 are taken" out.300
        check "control group of version 2 without a limit" [ "$(grep -cE '^memory: 2?[0-9]{2}\.' out.max)" = 0 -a -s out.max ]
    else
        skip "control group of version 2" "no name spaces, or no group of that version"
    fi
    group=/sys/fs/cgroup/memory/regrad-test-$$
    if ! mkdir "$group" 2>/dev/null || ! echo $((300 << 20)) 2>/dev/null >"$group/memory.limit_in_bytes"; then
        rmdir "$group" 2>/dev/null
        skip "control group" "this user may make none of version 1"
        return
    fi
    (echo $BASHPID >"$group/cgroup.procs" && exec "$programs/train_gpt" --model gpt2-124m --device cpu --threads 1 --train-data d_train.bin --batch 1 --seq 8 --steps 1 --out run) >out 2>err
    check "control group: a plan over its limit is refused, not killed" grep -qE '^train_gpt: the plan needs .* MiB are free' err
    (echo $BASHPID >"$group/cgroup.procs" && exec "$programs/train_gpt" --plan --model gpt-mini --device cpu --threads 1 --memory auto --product-rate 100 --stream-rate 10) >out 2>err
    check "control group: --memory auto" grep -qE '^memory: 2[0-9]{2}\.' out
    rmdir "$group"
}

for edge in "${@:-data ranks renamed temporaries closed full sizes kill faults signals network memory}"; do
    for one in $edge; do "edge_$one"; done
done
exit $bad
