#!/usr/bin/env bash
# test_ranks.sh - several ranks over MPI: real processes, each with one thread.
#
#   N ranks = one process with the same batches: losses, validation, gradient norm; the same bits each
#   time, and whatever the stage (without accumulation); planned = allocated; bytes moved = theory
#   checkpoints go from any number of ranks to any other, and on to the same bits with the same
#   a rank that is killed, stopped, or of another mind ends the run in time, with its number
#
# A loss is a mean of some hundred float losses added up in double; what differs between one process
# and N are sums of float gradients, taken in N parts: a few ulp (6e-8) of each, which AdamW's quotient
# passes on and few steps do not blow up.  TOLERANCE is relative, far above that and far below what
# any wrong sample, scale or shard does (tried: a rank left out changes the first loss by 1e-3).
# LONG=1 tries all combinations; otherwise any two choices meet at least once, as in `choose`.
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD TOLERANCE=2e-6 bad=0
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_base_warn_component_unused=0
export OMPI_MCA_pml=ob1 # others look for networks, which takes a third of a short run
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

# choose ONE OTHER: what to try: OTHER with LONG=1
choose() { [ "${LONG:-0}" = 1 ] && echo "$2" || echo "$1"; }

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
        "$root/build/release/$program" $common "$@" --out "$out" >"$out.txt" 2>&1
    else
        mpirun -np "$n" "$root/build/release/$program" $common "$@" --out "$out" >"$out.txt" 2>&1
    fi
}

# numbers DIR: "step name value" of all that training is judged by
numbers() {
    tr ',{}' '\n\n\n' <"$1/log.jsonl" |
        sed -n 's/^"\(step\|loss\|grad_norm\|val_loss\|accuracy\|val_accuracy\)":/\1 /p'
}

# alike A B: within the tolerance, the same numbers and as many
alike() {
    paste -d ' ' <(numbers "$1") <(numbers "$2") | awk -v t=$TOLERANCE -v least=${least:-8} '
        { n++; a = $2; b = $4; d = a > b ? a - b : b - a; m = a < 0 ? -a : a
          if ($1 != $3 || NF != 4 || d > t * (m > 1 ? m : 1)) { print $1 ": " a " and " b; bad = 1; exit } }
        END { if (n < least) { print "only " n " numbers"; bad = 1 }; exit bad }'
}

same_bits() { cmp -s "$1/model.safetensors" "$2/model.safetensors"; }

planned_is_used() {
    local planned used
    planned=$(grep -o '"peak_bytes":[0-9]*' "$1/log.jsonl" | tail -1)
    used=$(grep -o '"high_water_bytes":[0-9]*' "$1/log.jsonl")
    [ -n "$used" ] && [ "${planned#*:}" = "${used#*:}" ]
}

# ---- N ranks are one process ----

# equal NAME N STAGE BATCH ACCUM PROGRAM OPTIONS: also leaves the run in n$N.z$STAGE
equal() {
    local name=$1 n=$2 stage=$3 batch=$4 accum=$5 why one=one
    shift 5
    local key="$n $batch $accum $*"
    # adama's ranks are micro-batches of one process
    case " $* " in
    *' adama'*) set -- "$@" && local ones="--batch $batch --accum $((accum * n)) --eval-batches $n" ;;
    *) local ones="--batch $((batch * n)) --accum $accum" ;;
    esac
    # shellcheck disable=SC2086
    if [ "$key" != "${last_key:-}" ]; then
        run 1 $one "$@" $ones || { not_ok "$name: one process: $(tail -1 $one.txt)"; return; }
        last_key=$key
    fi
    run "$n" many "$@" --batch "$batch" --accum "$accum" --zero "$stage" ||
        { not_ok "$name: $(grep -m1 train_ many.txt || tail -1 many.txt)"; return; }
    if ! why=$(alike $one many); then
        not_ok "$name: $why"
    elif ! planned_is_used many; then
        not_ok "$name: allocated is not what was planned"
    else
        ok "$name"
    fi
}

# covered PROGRAM: every optimizer, form, policy, stage and N somewhere; LONG=1: all of them
matrix() {
    local program=$1 options=$2 i=0 n z optim extra
    for optim in adamw adamw_r 'adamw --gradients overlay' 'adamw_r --optim-impl passes' adan adan_r \
        'adan_r --optim-impl passes' lion lion_r 'lion_r --optim-impl passes' sgd sgd_r adama adama_r muon muon_r; do
        for extra in '1' '1 --grad-clip 0.5' '2' '3 --grad-clip 0.5'; do
            for n in 2 3 4; do
                for z in 0 1 2 3; do
                    i=$((i + 1))
                    case "$optim $extra" in *adama*clip*) continue ;; esac
                    case "$optim $z" in *adama*[123]) continue ;; esac
                    if [ "${LONG:-0}" != 1 ] && [ $((i % $3)) != "$4" ]; then continue; fi
                    # shellcheck disable=SC2086
                    equal "$program $optim, micro-batches $extra, $n ranks, stage $z" $n $z 2 ${extra%% *} \
                        $options --steps 4 --checkpoint-every 4 --optim $optim $([ "$extra" = "${extra#* }" ] || echo ${extra#* })
                done
            done
        done
    done
}
matrix gpt "$gpt" 41 3
matrix vit "$vit --drop-path 0.2 --mixup 0.2" 97 5

# BatchNorm's means are of all ranks' images.  wrn_bits: nothing is trained but a weight that a rate of 1e-30 does
# not change, so running statistics, which are in the file, must have one process's bits
wrn="train_vit --model wrn-10-1 --width 16 --image-size 12 --channels 3 --classes 8 --train-data images.bin --val-data images.bin"
# shellcheck disable=SC2086
{
    for n in 2 3; do
        for z in 0 3; do
            equal "wrn, $n ranks, stage $z" $n $z 2 2 $wrn --steps 4 --checkpoint-every 4 --optim adamw_r
        done
        planned=$("$root/build/release/"$wrn $common --batch 2 --accum 2 --optim adamw_r --zero 3 --ranks $n --plan --json | grep -o '"peak_bytes":[0-9]*')
        used=$(grep -o '"high_water_bytes":[0-9]*' many/log.jsonl)
        [ -n "$used" ] && [ "${planned#*:}" = "${used#*:}" ] && ok "wrn: --plan --ranks $n is what rank 0 then uses" ||
            not_ok "wrn: --plan --ranks $n: $planned, used $used"
    done
    equal 'wrn, recomputed, frozen norms, 2 ranks, stage 2' 2 2 3 1 $wrn --steps 4 --checkpoint-every 4 --recompute block --freeze '*bn*'
    equal 'wrn, averaged weights and statistics, 2 ranks, stage 2' 2 2 3 1 $wrn --steps 4 --checkpoint-every 4 --ema 0.7
    wrn_bits="$wrn --steps 3 --checkpoint-every 3 --train-only fc.weight --lr 1e-30 --weight-decay 0"
    run 1 one $wrn_bits --batch 6 && run 2 two $wrn_bits --batch 3 && run 3 three $wrn_bits --batch 2 --zero 3 && run 3 alone $wrn_bits --batch 3
    same_bits one two && same_bits one three && ! same_bits one alone && ok 'wrn: running statistics of 1, 2, 3 ranks: the same bits' ||
        not_ok "wrn: running statistics: $(tail -qn 1 one.txt two.txt three.txt)"
    run 1 one $wrn_bits --batch 6 --ema 0.7 && run 3 three $wrn_bits --batch 2 --zero 3 --ema 0.7
    same_bits one three && ! same_bits one two && ok 'wrn: averages of running statistics: the same bits' ||
        not_ok "wrn: averages of running statistics: $(tail -qn 1 one.txt three.txt)"
    run 2 first $wrn --steps 4 --batch 3 --checkpoint-every 2 --keep 9 --zero 2
    run 2 second $wrn --steps 4 --batch 3 --resume first/step_00000002 && same_bits first second && ok 'wrn: resumed, the same bits' ||
        not_ok "wrn: resumed: $(tail -1 second.txt)"
}

# what is made again in backward is gathered again; what is frozen has no gradient to send
# shellcheck disable=SC2086
{
    equal 'gpt, recomputed blocks, 3 ranks, stage 3' 3 3 2 1 $gpt --steps 4 --checkpoint-every 4 --optim adamw_r --recompute block
    equal 'gpt, frozen embeddings, 2 ranks, stage 2' 2 2 2 2 $gpt --steps 4 --checkpoint-every 4 --freeze 'wte.weight'
    equal 'gpt, frozen embeddings, recomputed attention, 4 ranks, stage 3' 4 3 2 1 $gpt --steps 4 --checkpoint-every 4 \
        --optim lion_r --freeze 'wpe.weight' --recompute attention
}

# adapters beside a model that is not trained: it is gathered where it is sharded, and sends nothing
# shellcheck disable=SC2086
{
    run 1 base $gpt --steps 1 --batch 4
    equal 'gpt, adapters, 2 ranks, stage 0' 2 0 2 2 $gpt --load base --lora 3 --steps 4
    equal 'gpt, adapters, 2 ranks, stage 2' 2 2 2 2 $gpt --load base --lora 3 --steps 4
    equal 'gpt, adapters, recomputed blocks, 3 ranks, stage 3' 3 3 2 1 $gpt --load base --lora 3 --lora-on c_attn c_fc --steps 4 \
        --checkpoint-every 4 --optim adan_r --recompute block
    equal 'gpt, adapters beside 4 bits, 2 ranks, stage 3' 2 3 2 1 $gpt --load base --lora 3 --base nf4 --steps 4
}

# averages are sharded with the weights; a checkpoint of any stage goes on as the same run
# shellcheck disable=SC2086
{
    equal 'gpt, averaged weights, 2 ranks, stage 0' 2 0 2 1 $gpt --steps 4 --checkpoint-every 2 --ema 0.7 --layer-decay 0.8
    equal 'gpt, averaged weights, 2 ranks, stage 2' 2 2 2 1 $gpt --steps 4 --checkpoint-every 2 --ema 0.7 --layer-decay 0.8
    rm -rf averaged && mv many averaged
    equal 'gpt, averaged weights, 2 ranks, stage 3' 2 3 2 1 $gpt --steps 4 --checkpoint-every 2 --ema 0.7 --layer-decay 0.8
    same_bits averaged many && cmp -s averaged/step_00000004/optimizer.safetensors many/step_00000004/optimizer.safetensors &&
        ok 'gpt, averaged weights: the same bits at stages 2 and 3' || not_ok 'gpt, averaged weights: stages 2 and 3 differ'
    mkdir goes_on && cp -r many/step_00000002 goes_on/ && mpirun -np 2 "$root/build/release/"$gpt $common --steps 4 --checkpoint-every 2 \
        --batch 2 --zero 1 --ema 0.7 --layer-decay 0.8 --out goes_on --resume auto >goes_on.txt 2>&1
    same_bits goes_on many && ok 'gpt, averaged weights: from stage 3 to stage 1' || not_ok "averaged weights, resumed: $(tail -1 goes_on.txt)"
}

# once under the sanitizers in shared memory, and once by messages (MPI itself leaks)
if [ -x "$root/build/san/train_gpt" ]; then
    # shellcheck disable=SC2086
    run 1 one $gpt --steps 2 --checkpoint-every 2 --batch 4 --optim adamw_r
    for way in 'MPI in shared memory' MPI; do
        rm -rf many
        # shellcheck disable=SC2086
        env $([ "$way" != MPI ] || echo OMPI_MCA_osc=^sm) ASAN_OPTIONS=detect_leaks=0 mpirun -np 2 "$root/build/san/"$gpt $common \
            --steps 2 --checkpoint-every 2 --batch 2 --optim adamw_r --zero 3 --out many >many.txt 2>&1
        status=$?
        why=$(least=4 && alike one many) && [ $status = 0 ] && grep -q "^ranks: 2 by $way, " many.txt && ok "2 ranks, stage 3, by $way, under the sanitizers" ||
            not_ok "by $way under the sanitizers: $why $(grep -m1 -E 'train_|ERROR|error' many.txt)"
    done
fi

# the same bits again, and at every stage; at every policy
# shellcheck disable=SC2086
{
    for z in 0 1 2 3; do
        run 3 again.$z $gpt --steps 4 --batch 2 --zero $z --optim adamw_r
    done
    run 3 again.4 $gpt --steps 4 --batch 2 --zero 2 --optim adamw_r
    run 3 again.5 $gpt --steps 4 --batch 2 --zero 2 --optim adamw --gradients own
    run 3 again.6 $gpt --steps 4 --batch 2 --zero 3 --optim adamw --gradients overlay
    run 3 again.7 $gpt --steps 4 --batch 2 --zero 2 --optim adamw_r --bucket 1
    run 3 again.8 $gpt --steps 4 --batch 2 --zero 3 --optim adamw_r --prefetch 0
    run 3 again.9 $gpt --steps 4 --batch 2 --zero 3 --optim adamw --prefetch 2 --bucket 1 --gradients overlay
}
# shared memory or messages: the same bits, and the run says which
# shellcheck disable=SC2086
for z in 0 2 3; do
    OMPI_MCA_osc=^sm run 3 sent $gpt --steps 4 --batch 2 --zero $z --optim adamw_r --bucket 1
    why=''
    grep -q '^ranks: 3 by MPI, ' sent.txt || why="$(grep '^ranks' sent.txt) without shared memory"
    grep -q '^ranks: 3 by MPI in shared memory, ' again.$z.txt || why="$(grep '^ranks' again.$z.txt) with it"
    same_bits again.0 sent || why="$why other bits"
    [ -z "$why" ] && ok "by messages as in shared memory, stage $z" || not_ok "by messages, stage $z: $why"
done
differ=''
for i in 1 2 3 4 5 6 7 8 9; do same_bits again.0 again.$i || differ="$differ $i"; done
[ -z "$differ" ] && ok 'the same bits again, at every stage, policy, bucket and prefetch' || not_ok "other bits in$differ"

# ---- bytes: 4 bytes a parameter, N = 21024; the step's numbers, and norms where each rank has a part ----

# moved DIR: bytes of its last step
moved() { grep -o '"comm_bytes":[0-9]*' "$1/log.jsonl" | tail -1 | cut -d: -f2; }
N=21024 SUMS=$((2 * 3 * 8)) NORMS=$((2 * 28 * 8))
# shellcheck disable=SC2086
for k in 1 3; do
    for z in 0 1 2 3; do
        of=again.$z # with one micro-batch: that run
        [ $k$z != 13 ] || of=again.8
        [ $k = 1 ] || { of=moved && run 2 $of $gpt --steps 1 --batch 2 --accum $k --zero $z $([ $z != 3 ] || echo --prefetch 0); }
        # stage 3 without prefetch: a weight once in forward, once in backward, the tied one (256 x 24) at both ends of
        # forward alone, positions (16 x 24) and biases, which backward does not read, in forward alone
        biases=$((2 * (24 + 24 + 24 * 3 + 24 + 24 * 4 + 24) + 24))
        case $z in
        0) want=$((2 * N * 4 + SUMS)) ;;
        1) want=$((2 * N * 4 + SUMS + NORMS)) ;;
        2) want=$(((k + 1) * N * 4 + SUMS + NORMS)) ;;
        3) want=$((k * 4 * (3 * N - 16 * 24 - biases) + SUMS + NORMS)) ;;
        esac
        [ "$(moved $of)" = $want ] && ok "bytes moved at stage $z with $k micro-batches" ||
            not_ok "bytes at stage $z with $k micro-batches: $(moved $of), by theory $want"
    done
done

# ---- groups: shards within two ranks, copies between ----

# in_groups N GROUP: of each stage, in shared memory and by messages; the bits of N ranks without groups.  Rank 0 is in groups.txt.
# The step's bytes: what stays within the group as above, and twice the own part between
# shellcheck disable=SC2086
in_groups() {
    local n=$1 group=$2 z way why own planned options="$gpt --steps 4 --batch 2 --optim adamw_r --checkpoint-every 2 --keep 9"
    run $n flat $options
    for z in 1 2 3; do
        why=''
        for way in $(choose "$([ $z = 1 ] || echo sm) $([ $z = 2 ] || echo ^sm)" 'sm ^sm'); do
            OMPI_MCA_osc=$way run $n groups $options --zero $z --shard-group $group --bucket $((z / 2)) || why="$why $(grep -m1 train_ groups.txt)"
            same_bits flat groups && cmp -s flat/step_00000004/optimizer.safetensors groups/step_00000004/optimizer.safetensors || why="$why $way: other bits"
            planned_is_used groups || why="$why $way: allocated is not what was planned"
        done
        grep -q "^ranks: $n by MPI$([ $way != sm ] || echo ' in shared memory'), --zero $z: .* sharded, in groups of $group ranks" groups.txt || why="$why $(grep '^ranks' groups.txt)"
        own=$(sed -n 's/^  rank 0 on .*; updates \([0-9]*\) of .*/\1/p' groups.txt)
        [ "$(sed -n 's/^  rank .*; updates \([0-9]*\) of .*/\1/p' groups.txt | awk '{ s += $1 } END { print s }')" = $((N * n / group)) ] || why="$why who updates what"
        [ "$(grep -o '"between_bytes":[0-9]*' groups/log.jsonl | tail -1 | cut -d: -f2)" = $((2 * 4 * own)) ] || why="$why bytes between"
        [ $z = 3 ] || [ "$(moved groups)" = $((2 * 4 * N + 2 * 4 * own + SUMS + NORMS)) ] || why="$why bytes: $(moved groups)"
        planned=$("$root/build/release/"$options $common --zero $z --shard-group $group --bucket $((z / 2)) --ranks $n --plan --json | grep -o '"peak_bytes":[0-9]*')
        [ "$planned" = "$(grep -o '"peak_bytes":[0-9]*' groups/log.jsonl | tail -1)" ] || why="$why planned without the ranks: $planned"
        [ -z "$why" ] && ok "$n ranks in groups of $group, stage $z: the same bits" || not_ok "$n ranks in groups of $group, stage $z:$why"
    done
    run $n on $options --zero 2 --shard-group $group --resume flat/step_00000002 && same_bits flat on &&
        run $n parts $options --zero 3 --shard-group $group --checkpoint-parts && same_bits flat parts &&
        run $n on $options --zero 1 --shard-group 0 --resume parts/step_00000002 && same_bits flat on &&
        ok "$n ranks: resumed in groups of $group, and from them" || not_ok "$n ranks, groups of $group, resumed: $(grep -m1 train_ on.txt)"
}
in_groups 4 2
# shellcheck disable=SC2086
{
    OMPI_MCA_osc=^sm equal 'gpt, 4 ranks in groups of 2, muon, accumulated, clipped, stage 3' 4 3 1 2 $gpt --steps 4 --checkpoint-every 4 \
        --optim muon --grad-clip 0.5 --shard-group 2
    equal 'wrn, 4 ranks in groups of 2, stage 3' 4 3 1 2 $wrn --steps 4 --checkpoint-every 4 --optim adamw_r --shard-group 2
    for wrong in '3 --zero 2:with 4 ranks' '2 --zero 0:nothing is sharded' '1 --zero 2:shards nothing'; do
        run 4 groups $gpt --steps 1 --shard-group ${wrong%%:*}
        [ $? = 1 ] && [ "$(grep -c '^train_gpt: ' groups.txt)" = 1 ] && grep -q "^train_gpt: .*${wrong#*:}" groups.txt && ok "--shard-group ${wrong%%:*}: refused" ||
            not_ok "--shard-group ${wrong%%:*}: $(grep -m1 train_ groups.txt)"
    done
    if [ "${LONG:-0}" = 1 ]; then
        for way in 8:2 8:4 6:2 6:3; do in_groups ${way%:*} ${way#*:}; done
    fi
}

# ---- who is where ----

# told DIR STAGE SHARED: three ranks, each with its line, whose parts of the parameters are all of them (SHARED: together)
told() {
    grep -q "^ranks: 3 by MPI in shared memory, --zero $2: " "$1.txt" &&
        sed -n 's/^  rank [012] on .*: cpu, 1 thread.*; updates \([0-9]*\) of '$N' parameters$/\1/p' "$1.txt" |
        awk -v n=$N -v shared="${3:-}" '{ sum += $1; if (!shared && $1 != n) exit 1 } END { exit !(NR == 3 && sum == n * (shared ? 1 : 3)) }'
}
for z in 0 1 2 3; do
    told again.$z $z "$([ $z = 0 ] || echo 1)" && ok "who is where at stage $z" ||
        not_ok "who is where at stage $z: $(grep -A 3 '^ranks:' again.$z.txt | tr '\n' ' ')"
done

# ---- plans: of N ranks without N processes ----

# shellcheck disable=SC2086
for z in 0 1 2 3; do
    planned=$("$root/build/release/"${gpt} $common --batch 2 --optim adamw_r --zero $z --ranks 3 --plan --json | grep -o '"peak_bytes":[0-9]*')
    used=$(grep -o '"high_water_bytes":[0-9]*' again.$z/log.jsonl)
    [ -n "$used" ] && [ "${planned#*:}" = "${used#*:}" ] && ok "--plan --ranks 3 --zero $z is what rank 0 then uses" ||
        not_ok "--plan --ranks 3 --zero $z: $planned, used $used"
done

# ---- bf16: gradients are added up in it, which rounds them (2^-9 of each); masters in fp32 ----

# shellcheck disable=SC2086
{
    narrow="$gpt --steps 4 --checkpoint-every 2 --keep 9 --optim adamw_r --dtype bf16"
    run 1 one $narrow --batch 4
    for z in 0 1 2 3; do
        run 2 narrow.$z $narrow --batch 2 --zero $z
        why=$(TOLERANCE=4e-3 && alike one narrow.$z) && planned_is_used narrow.$z && same_bits narrow.0 narrow.$z &&
            ok "bf16 at stage $z: one process, the same bits at every stage" || not_ok "bf16 at stage $z: $why $(tail -1 narrow.$z.txt)"
    done
    run 2 part $narrow --batch 2 --zero 1 --resume narrow.3/step_00000002 && same_bits part narrow.3 &&
        ok 'bf16: resumed at another stage: the same bits, so the masters were kept' || not_ok "bf16: resumed: $(tail -1 part.txt)"
    for form in '--state int8' '--dtype bf16 --master none' '--dtype bf16 --master split8 --state int8'; do
        run 1 one $gpt --steps 4 --checkpoint-every 4 --batch 4 $form
        run 2 many $gpt --steps 4 --checkpoint-every 4 --batch 2 $form
        why=$(TOLERANCE=4e-3 && alike one many) && ok "stage 0, $form" || not_ok "stage 0, $form: $why $(tail -1 many.txt)"
    done
}

# ---- states in a file: each rank's own part of them ----

# shellcheck disable=SC2086
{
    wide="${gpt/--width 24/--width 64} --steps 4 --checkpoint-every 2 --keep 9 --dtype bf16 --batch 2"
    for z in $(choose '1 3' '0 1 2 3'); do # of the other stages in parts, below
        why=
        run 2 near $wide --zero $z && run 2 far $wide --zero $z --offload states &&
            run 2 on $wide --zero $z --offload states --resume near/step_00000002 || why="$(grep -hm1 '^train_' far.txt on.txt)"
        [ "$(grep -o '"offload_bytes":[0-9]*' far/log.jsonl | tail -1 | cut -d: -f2)" -gt 0 ] || why="$why nothing lies there"
        planned_is_used far || why="$why allocated is not what was planned"
        same_bits near far && same_bits near on &&
            cmp -s near/step_00000004/optimizer.safetensors far/step_00000004/optimizer.safetensors &&
            cmp -s near/step_00000004/optimizer.safetensors on/step_00000004/optimizer.safetensors || why="$why other bits"
        [ -z "$why" ] && ok "--offload states at stage $z: the same bits, resumed too" || not_ok "--offload states at stage $z: $why"
    done
}

# in parts: each rank writes what its own file has of them
# shellcheck disable=SC2086
{
    wide="${gpt/--width 24/--width 64} --steps 4 --checkpoint-every 2 --keep 9 --dtype bf16"
    parts_alike() { # A B N: the same files of tensors, of N ranks
        local file
        [ "$(find $1/step_00000004 $2/step_00000004 -name '*-0000[123]-of-0000?.safetensors' | wc -l)" = $((4 * $3)) ] || return 1
        for file in $1/step_00000004/*.safetensors; do cmp -s "$file" "$2/step_00000004/${file##*/}" || return 1; done
    }
    for z in $(choose '0 2 3' '0 1 2 3'); do
        why=
        run 2 near $wide --batch 2 --zero $z --checkpoint-parts && run 2 far $wide --batch 2 --zero $z --checkpoint-parts --offload states &&
            run 2 on $wide --batch 2 --zero $z --checkpoint-parts --offload states --resume near/step_00000002 || why="$(grep -hm1 '^train_' far.txt on.txt)"
        planned_is_used far || why="$why allocated is not what was planned"
        parts_alike near far 2 && parts_alike near on 2 || why="$why other bits"
        run 1 one $wide --batch 4 --offload states --resume far/step_00000002 && run 1 on $wide --batch 4 --resume near/step_00000002 && same_bits one on ||
            why="$why resumed by one: $(grep -hm1 '^train_' one.txt on.txt)"
        [ -z "$why" ] && ok "--offload states in parts at stage $z: the same bits, resumed too" || not_ok "--offload states in parts at stage $z: $why"
    done
    run 1 near $wide --batch 4 --checkpoint-parts && run 1 far $wide --batch 4 --checkpoint-parts --offload params && planned_is_used far && parts_alike near far 1 &&
        ok '--offload params in parts, one rank: the same bits' || not_ok "--offload params in parts: $(tail -n 1 far.txt)"
}

# with what else changes what is there, or when: micro-batches, adapters, what blocks keep
# shellcheck disable=SC2086
{
    wide="${gpt/--width 24/--width 64} --steps 4 --checkpoint-every 4"
    equal '--offload states, accumulated, clipped, 3 ranks, stage 2' 3 2 1 2 $wide --offload states --optim adamw_r --grad-clip 0.5
    run 1 wide $wide --batch 2
    equal '--offload states, adapters, accumulated, 2 ranks, stage 3' 2 3 1 2 $wide --load wide --lora 8 --offload states
    equal '--offload activations, accumulated, 2 ranks, stage 3' 2 3 1 2 $wide --offload activations --optim lion_r
    run 2 near $wide --batch 2 --accum 2 --zero 2 && run 2 far $wide --batch 2 --accum 2 --zero 2 --offload states && same_bits near far &&
        ok '--offload states, accumulated: the same bits' || not_ok "--offload states, accumulated: $(grep -hm1 '^train_' far.txt)"
}

# every rank has the matrices at stage 0, so that they may lie there; elsewhere they are shared, and it is refused
# shellcheck disable=SC2086
{
    wide="${gpt/--width 24/--width 64} --steps 4 --checkpoint-every 2 --keep 9"
    equal '--offload params, accumulated, clipped, 2 ranks' 2 0 1 2 $wide --offload params --optim adamw_r --grad-clip 0.5
    equal '--offload params, adapters, 2 ranks' 2 0 2 1 $wide --load wide --lora 8 --offload params
    for how in '--dtype bf16 --optim adan' '--checkpoint-parts --optim muon'; do
        why=
        run 2 near $wide --batch 2 $how && run 2 far $wide --batch 2 --offload params $how && planned_is_used far && same_bits near far &&
            run 2 on $wide --batch 2 --offload params $how --resume near/step_00000002 && same_bits near on || why="$(grep -hm1 '^train_' far.txt on.txt) other bits"
        for file in near/step_00000004/*.safetensors; do
            cmp -s "$file" far/${file#*/} && cmp -s "$file" on/${file#*/} || why="$why ${file##*/}"
        done
        [ -z "$why" ] && ok "--offload params, 2 ranks, $how: the same bits, resumed too" || not_ok "--offload params, 2 ranks, $how: $why"
    done
    run 2 far $wide --batch 2 --offload params --zero 2
    [ $? != 0 ] && grep -q 'offload params with --zero 2: ' far.txt && ok '--offload params at stage 2: refused' || not_ok "--offload params at stage 2: $(tail -n 1 far.txt)"
}

# packed documents, of which each rank learns another number of tokens
# shellcheck disable=SC2086
{
    echo "{% for m in messages %}{{ '<' + m.role + '>' + m.content + eos_token }}{% endfor %}" >talk.jinja
    awk 'BEGIN { srand(5); n = split("the cat sat on a mat and dogs ran far", w, " ")
        for (i = 0; i < 200; i++) { for (k = 0; k < 2; k++) { s[k] = ""; for (j = 6 * rand(); j >= 0; j--) s[k] = s[k] w[1 + int(n * rand())] " " }
            printf "{\"messages\":[{\"role\":\"user\",\"content\":\"%s\"},{\"role\":\"assistant\",\"content\":\"%s\"}]}\n", s[0], s[1] } }' >talk.jsonl
    printf 'the cat#sat' >talk.txt
    "$root/build/release/tokenize" -v bytes -s '#' -f 0 -o words talk.txt >talk.log 2>&1 &&
        "$root/build/release/tokenize" --chat -v words.vocab --template talk.jinja -o talk talk.jsonl >talk.log 2>&1 || not_ok "packed documents: $(tail -n 1 talk.log)"
    packed="train_gpt --layers 2 --heads 2 --width 64 --context 128 --vocab 257 --seq 128 --train-data talk_train.bin --val-data talk_val.bin --steps 4
        --checkpoint-every 4 --optim adamw_r"
    for z in 0 2 3; do
        run 2 near $packed --batch 2 --zero $z
        grep -q '^training: .* documents in .* rows of 128: .* learned' near.txt || not_ok "packed documents: $(grep -m 1 training: near.txt)"
        case $z in 0) hows='states params' ;; 2) hows='activations' ;; 3) hows='states,activations' ;; esac
        for how in $(choose "$hows" 'states params activations states,activations'); do
            case $how$z in params[23]) continue ;; esac
            equal "packed documents, --offload $how, 2 ranks, stage $z" 2 $z 2 1 $packed --offload $how
            same_bits near many && cmp -s near/step_00000004/optimizer.safetensors many/step_00000004/optimizer.safetensors &&
                [ "$(grep -o '"offload_bytes":[0-9]*' many/log.jsonl | tail -1 | cut -d: -f2)" -gt 0 ] &&
                ok "packed documents, --offload $how, stage $z: the bits without" || not_ok "packed documents, --offload $how, stage $z: other bits"
        done
        [ $z != 2 ] && [ "${LONG:-0}" != 1 ] ||
            equal "packed documents, --offload states, accumulated, clipped, 2 ranks, stage $z" 2 $z 1 2 $packed --offload states --grad-clip 0.5
    done
}

# ---- checkpoints ----

# shellcheck disable=SC2086
{
    run 2 whole $gpt --steps 6 --batch 3 --zero 3 --optim adamw_r --checkpoint-every 2 --keep 9
    slow=$(sed -n 's/^{"step":\([0-9]*\),.*"checkpoint_ms":[0-9.]*[1-9].*/\1/p' whole/log.jsonl | tr '\n' ' ')
    [ "$slow" = '3 5 ' ] && ok 'the time of a checkpoint is in the line of the next step' ||
        not_ok "the time of checkpoints 2, 4 and 6 is in the lines of steps $slow"
    for to in '2 3 3' '1 6 0' '3 2 1'; do
        set -- $to
        rm -rf part && mkdir part && cp -r whole/step_00000002 whole/log.jsonl part
        mv part keep
        run $1 part2 $gpt --steps 6 --batch $2 --zero $3 --optim adamw_r --resume keep/step_00000002
        if [ $1 = 2 ]; then
            same_bits whole part2 && ok 'resumed by as many ranks: the same bits' || not_ok 'resumed by as many ranks: other bits'
        else
            a=$(numbers whole | awk '$1 == "loss"' | tail -4) b=$(numbers part2 | awk '$1 == "loss"')
            paste -d ' ' <(echo "$a") <(echo "$b") | awk -v t=$TOLERANCE '{ n++; d = $2 - $4; if (d < 0) d = -d; if (d > t * $2) exit 1 } END { exit n != 4 }' &&
                ok "2 ranks' checkpoint, resumed by $1 at stage $3" || not_ok "2 ranks' checkpoint, resumed by $1 at stage $3: $b"
        fi
        rm -rf keep
    done
}

# in parts: the same run; resumed by any number of ranks to the bits of the whole one; a rank that cannot write its part, and one
# that is killed while they are written
# shellcheck disable=SC2086
{
    parts="$gpt --steps 6 --optim adamw_r --checkpoint-every 2 --keep 9"
    run 2 parts $parts --batch 3 --zero 3 --checkpoint-parts
    [ "$(ls parts/step_00000002 | grep -c -- '-0000[12]-of-00002.safetensors$')" = 4 ] && [ ! -e parts/step_00000002/optimizer.safetensors ] &&
        same_bits whole parts && planned_is_used parts && ok 'checkpoints in parts: the same run' || not_ok "checkpoints in parts: $(tail -1 parts.txt)"
    for to in '2 3 3' '1 6 0' '3 2 1' '3 2 3'; do
        set -- $to
        run $1 from_whole $parts --batch $2 --zero $3 --resume whole/step_00000002
        run $1 from_parts $parts --batch $2 --zero $3 --resume parts/step_00000002
        same_bits from_whole from_parts && planned_is_used from_parts &&
            [ "$(ls from_parts/step_00000006 | grep -c "^optimizer-.*of-0000$1.safetensors")" = $1 ] &&
            ok "2 ranks' parts, resumed by $1 at stage $3: the bits of a whole one" || not_ok "2 ranks' parts, resumed by $1 at stage $3: $(tail -1 from_parts.txt)"
    done
    "$root/build/release/export" parts/step_00000006 exported >exported.txt 2>&1
    cmp -s exported/model.safetensors whole/model.safetensors && ok './export makes one file of the parts' || not_ok "export of parts: $(tail -1 exported.txt)"
    rm -rf limited && mpirun -np 1 "$root/build/release/"$parts $common --batch 3 --zero 3 --checkpoint-parts --out limited : -np 1 sh -c \
        "ulimit -f 60; trap '' XFSZ; exec $root/build/release/$parts $common --batch 3 --zero 3 --checkpoint-parts --out limited" >limited.txt 2>&1 &&
        [ -z "$(ls -d limited/step_* 2>/dev/null)" ] && same_bits whole limited && grep -q 'no checkpoint of step 2: rank 0: the part of rank 1: cannot write' limited.txt &&
        ok 'a rank that cannot write its part: no checkpoint, and it is said' || not_ok "a rank that cannot write its part: $(ls limited) $(grep -m 1 warning limited.txt)"
    # written by threads, while the training continues: the same files, in memory that each rank has planned
    for z in 0 2 3; do
        why=
        run 3 waits $parts --batch 2 --zero $z --checkpoint-parts && run 3 goes $parts --batch 2 --zero $z --checkpoint-parts --checkpoint-async ||
            why="$(tail -n 1 goes.txt)"
        for file in waits/step_*/*.safetensors*; do cmp -s "$file" "goes/${file#*/}" || why="$why ${file#*/}"; done
        [ "$(ls waits)" = "$(ls goes)" ] && same_bits waits goes || why="$why other files"
        planned=$("$root/build/release/"$parts $common --batch 2 --zero $z --checkpoint-parts --checkpoint-async --ranks 3 --plan --json | grep -o '"peak_bytes":[0-9]*')
        used=$(grep -o '"high_water_bytes":[0-9]*' goes/log.jsonl)
        [ -n "$used" ] && [ "${planned#*:}" = "${used#*:}" ] || why="$why planned $planned, used $used"
        run 1 from_whole $parts --batch 6 --resume waits/step_00000002 && run 1 from_parts $parts --batch 6 --resume goes/step_00000002 --checkpoint-async &&
            same_bits from_whole from_parts || why="$why resumed by one"
        [ -z "$why" ] && ok "parts beside the training at stage $z: the same files" || not_ok "parts beside the training at stage $z: $why"
    done
    run 2 waits $vit --steps 4 --batch 3 --checkpoint-every 2 --zero 3 --checkpoint-parts
    run 2 goes $vit --steps 4 --batch 3 --checkpoint-every 2 --zero 3 --checkpoint-parts --checkpoint-async && planned_is_used goes && same_bits waits goes &&
        cmp -s waits/step_00000002/model.safetensors goes/step_00000002/model.safetensors && cmp -s waits/step_00000002/optimizer-00002-of-00002.safetensors \
        goes/step_00000002/optimizer-00002-of-00002.safetensors && ok 'a model of images, in parts beside the training: the same files' ||
        not_ok "a model of images, in parts beside the training: $(tail -n 1 goes.txt)"
    rm -rf limited && mpirun -np 1 "$root/build/release/"$parts $common --batch 3 --zero 3 --checkpoint-parts --checkpoint-async --out limited : -np 1 sh -c \
        "ulimit -f 60; trap '' XFSZ; exec $root/build/release/$parts $common --batch 3 --zero 3 --checkpoint-parts --checkpoint-async --out limited" >limited.txt 2>&1 &&
        [ -z "$(ls -d limited/step_* 2>/dev/null)" ] && same_bits whole limited &&
        [ "$(grep -c 'no checkpoint of step [24]: rank 0: the part of rank 1: cannot write' limited.txt)" = 2 ] &&
        ok 'a thread of a rank that cannot write its part: no checkpoint, and it is said once' ||
        not_ok "a thread of a rank that cannot write its part: $(ls limited) $(grep -m 1 warning limited.txt)"
    # a rank that can start no thread writes itself, for longer than the others would wait for a step: they know
    if cc -D_GNU_SOURCE -O1 -shared -fPIC -o no_thread.so "$root/test/preload/no_thread.c" -ldl 2>no_thread.txt; then
        for way in '' --checkpoint-parts; do
            threadless="$root/build/release/$gpt $common --steps 3 --batch 3 --checkpoint-every 2 --checkpoint-async --bucket 0 --watchdog 2 $way --out alone"
            rm -rf alone
            mpirun -np 1 env LD_PRELOAD="$dir/no_thread.so" SLOW=4 $threadless : -np 1 $threadless >alone.txt 2>&1
            [ -e alone/step_00000002/manifest.json ] && [ -e alone/step_00000003/manifest.json ] && grep -q 'step     2  checkpoint' alone.txt &&
                ok "a rank that can start no thread, --checkpoint-async $way" || not_ok "a rank that can start no thread, --checkpoint-async $way: $(tail -n 1 alone.txt)"
        done
    else
        not_ok "no_thread.so: $(tail -n 1 no_thread.txt)"
    fi
    for i in $(choose '2 3 5 7' '1 2 3 4 5 6 7'); do
        [ $i -lt 5 ] && way= || way=--checkpoint-async
        rm -rf killed
        mpirun -np 2 "$root/build/release/"$gpt $common --steps 40 --batch 3 --zero 3 --checkpoint-every 1 --checkpoint-parts $way --out killed >killed.txt 2>&1 &
        mpi=$!
        for k in $(seq 500); do [ ! -e killed/step_0000000$((1 + i % 4)) ] || break; sleep .02; done
        sleep .0$((RANDOM % 5))
        kill -9 $(pgrep -P $mpi train_gpt | tail -n $((1 + i % 2)))
        ! wait $mpi || { echo 'nobody was killed' >killed.txt && break; }
        run_again=$(mpirun -np 2 "$root/build/release/"$gpt $common --steps 40 --batch 3 --zero 3 --checkpoint-every 40 --checkpoint-parts $way --out killed --resume auto 2>&1) &&
            grep -q '^resuming from killed/step_' <<<"$run_again" || { echo "$run_again" >killed.txt && break; }
        [ -e straight ] || run 2 straight $gpt --steps 40 --batch 3 --zero 3
        same_bits killed straight || { echo 'other bits' >killed.txt && break; }
        [ $i != 7 ] || i=done
    done
    [ $i = done ] && ok 'ranks killed while parts are written, by threads too: resumed, the same bits' || not_ok "ranks killed while parts are written: $(tail -n 1 killed.txt)"
}

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
    export ASAN_OPTIONS=detect_leaks=0 WORLD_SIZE=2 MASTER_ADDR=${address:-localhost} MASTER_PORT=$((20000 + RANDOM % 12000))
    # shellcheck disable=SC2086
    {
        env RANK=1 LOCAL_RANK=1 ${other_has:-} "$root/build/san/train_gpt" $tiny --device cuda --out "$out" "$@" ${odd:-} >"$out.1.txt" 2>&1 &
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
        not_ok "$name: allocated is not what was planned"
    elif ! grep -q '"comm_ms":[0-9]' many/log.jsonl; then
        not_ok "$name: the log does not say how long a rank waited"
    else
        ok "$name"
    fi
}
if [ -x "$root/build/san/train_gpt" ] && grep -q 'emulated NCCL' "$root/build/san/train_gpt"; then
    gpus_equal 2 1 2 1 --optim adamw_r
    [ "$(moved many)" = $((2 * 5076 * 4 + SUMS + 2 * 16 * 8)) ] && ok 'bytes moved, where graphs are launched' ||
        not_ok "bytes moved, where graphs are launched: $(moved many)"
    gpus_equal 2 0 1 2 --optim adan --grad-clip 0.5 --bucket 1
    gpus_equal "$(choose 2 4)" 3 1 2 --optim lion --gradients overlay
    gpus_equal 4 2 1 1 --optim adamw_r --bucket 1 --shard-group 2
    rm -rf grouped && mv many grouped # again by --gpus 4, below
    gpus_equal 4 3 1 2 --optim lion --gradients overlay --shard-group 2 --grad-clip 0.5
    TOLERANCE=4e-3 gpus_equal 2 2 1 2 --optim adamw --dtype bf16
    # BatchNorm's sums are gathered by NCCL
    # shellcheck disable=SC2086
    {
        some="--steps 2 --warmup 0 --eval-every 2 --eval-batches 1 --threads 1"
        rm -rf one many
        "$root/build/release/"$wrn $some --device cpu --batch 4 --out one >one.txt 2>&1 &&
            ASAN_OPTIONS=detect_leaks=0 mpirun -np 2 "$root/build/san/"$wrn $some --device cuda --batch 2 --out many >many.txt 2>&1
        status=$?
        why=$(least=4 && TOLERANCE=1e-5 && alike one many) && [ $status = 0 ] && planned_is_used many && ok 'wrn, 2 emulated GPUs' ||
            not_ok "wrn, 2 emulated GPUs: $why $(grep -m1 -E 'train_|NCCL|ERROR' many.txt || tail -1 many.txt)"
    }
    if [ "${LONG:-0}" = 1 ]; then
        for z in 0 1 2 3; do
            for n in 2 3 4; do
                gpus_equal $n $z 1 2 --optim adamw --grad-clip 0.5
                gpus_equal $n $z 1 1 --optim adamw_r --bucket 1
            done
            [ $z = 0 ] || gpus_equal 4 $z 1 2 --optim muon --grad-clip 0.5 --shard-group 2
        done
    fi
    # checkpoints in parts, copied from the GPU's memory, and from the second place: what ranks that wait write
    # shellcheck disable=SC2086
    for z in 2 3; do
        some="--width 24 --steps 4 --batch 1 --optim adamw --zero $z --eval-every 0 --checkpoint-every 2 --checkpoint-parts"
        why=
        on_gpus 2 waits $some
        for how in --checkpoint-async '--offload states' '--checkpoint-async --offload states'; do
            case $z$how in 2*async*states | 3--checkpoint-async | 3--off*) [ "${LONG:-0}" = 1 ] || continue ;; esac
            on_gpus 2 goes $some $how && planned_is_used goes || why="$why $how: $(grep -m1 -E 'train_|NCCL|ERROR' goes.txt)"
            for file in waits/step_*/*.safetensors*; do cmp -s "$file" "goes/${file#*/}" || why="$why $how: ${file#*/}"; done
        done
        [ "$(ls -d waits/step_*/*-00002-of-00002.safetensors | wc -l)" = 4 ] || why="$why $(tail -n 1 waits.txt)"
        [ -z "$why" ] && ok "2 emulated GPUs, parts beside the training and offloaded, stage $z: the same files" ||
            not_ok "2 emulated GPUs, parts beside the training, stage $z: $why"
    done
    # gradients travel beside the computation: the same bits however early or late, other bits if
    # either of the two streams does not wait for the other
    two="--steps 2 --batch 1 --zero 2 --bucket 1 --eval-every 0"
    # shellcheck disable=SC2086
    {
        on_gpus 2 late $two --optim adamw_r
        local_gpus again $two --optim adamw --gradients own && same_bits late again
        [ $? = 0 ] && ok '--gpus 2, own gradients: the same bits as by mpirun, released' || not_ok "--gpus 2: $(tail -1 again.txt)"
        local_gpus again --eval-every 2 --steps 4 --batch 1 --zero 2 --optim adamw_r --bucket 1 --shard-group 2 --gpus 4 && same_bits grouped again && grep -q 'in groups of 2 ranks$' again.txt
        [ $? = 0 ] && ok '--gpus 4 in groups of 2: the same bits as by mpirun' || not_ok "--gpus 4 in groups: $(tail -1 again.txt)"
        CUDASIM_EAGER_STREAM=1 by_environment again $two --no-cuda-graph --optim adamw --gradients overlay && same_bits late again
        [ $? = 0 ] && ok 'RANK, WORLD_SIZE, ...: overlay, gradients sent as early as can be: the same bits' ||
            not_ok "RANK, WORLD_SIZE, ...: $(tail -1 again.txt again.1.txt)"
        CUDASIM_EAGER_STREAM=1 CUDASIM_DEAF_STREAM=1 on_gpus 2 again $two --no-cuda-graph --optim adamw_r &&
            ! same_bits late again && ok 'gradients that do not wait for backward are seen' || not_ok 'a missing wait is not seen: of communication'
        CUDASIM_DEAF_STREAM=0 on_gpus 2 again $two --no-cuda-graph --optim adamw_r &&
            ! same_bits late again && ok 'an update that does not wait for gradients is seen' || not_ok 'a missing wait is not seen: of computation'
        # parameters that are fetched ahead: as early as can be, as late; other bits where one stream is deaf
        three="--steps 2 --batch 1 --zero 3 --eval-every 0 --optim adamw_r"
        on_gpus 2 late $three --prefetch 0
        on_gpus 2 again $three --prefetch 1 && same_bits late again && planned_is_used again && ok 'prefetch in graphs: the same bits' ||
            not_ok "prefetch in graphs: $(grep -m1 -E 'train_|NCCL|ERROR' again.txt)"
        CUDASIM_EAGER_STREAM=1 on_gpus 2 again $three --no-cuda-graph --prefetch 2 && same_bits late again &&
            ok 'prefetch as early as can be: the same bits' || not_ok "prefetch, early: $(grep -m1 -E 'train_|NCCL|ERROR' again.txt)"
        # what is used is anything then, a loss that is not finite among them
        CUDASIM_DEAF_STREAM=0 on_gpus 2 again $three --no-cuda-graph --prefetch 1
        [ -f again/model.safetensors ] && same_bits late again && not_ok 'a missing wait is not seen: of a use' ||
            ok 'a use that does not wait for its parameters is seen'
        odd='--lr 0.5' by_environment again $two
        [ $? = 1 ] && [ "$(cat again.txt again.1.txt | grep -c '^train_gpt: ')" = 1 ] &&
            grep -q 'rank 1 was given another --lr than rank 0' again.txt && ok 'RANK, WORLD_SIZE, ...: another option' ||
            not_ok "RANK, WORLD_SIZE, ...: another option: $(tail -1 again.txt)"
        other_has='CUDA_VISIBLE_DEVICES=' by_environment again $two
        [ $? = 1 ] && [ "$(cat again.txt again.1.txt | grep -c '^train_gpt: ')" = 1 ] &&
            grep -q '^train_gpt: rank 1: no GPU is visible' again.1.txt && ok 'a rank without a GPU' ||
            not_ok "a rank without a GPU: $(tail -1 again.txt again.1.txt)"
        other_has='CUDA_VISIBLE_DEVICES=0,1 LOCAL_RANK=2' by_environment again $two
        [ $? = 1 ] && [ "$(cat again.txt again.1.txt | grep -c '^train_gpt: ')" = 1 ] &&
            grep -q 'rank 1: there is no GPU for it: it is number 2 .* CUDA_VISIBLE_DEVICES=0,1 has 2' again.1.txt &&
            ok 'more ranks than GPUs' || not_ok "more ranks than GPUs: $(tail -1 again.txt again.1.txt)"
        other_has='LOCAL_RANK=one' by_environment again $two
        [ $? = 1 ] && grep -q 'LOCAL_RANK=one: must be a number' again.1.txt && ok 'LOCAL_RANK is no number' ||
            not_ok "LOCAL_RANK is no number: $(tail -1 again.txt again.1.txt)"
        if grep -q . /proc/net/if_inet6 2>/dev/null; then # not the loopback's name, so rank 0 listens everywhere
            address=0:0:0:0:0:0:0:1 by_environment again $two --no-cuda-graph --optim adamw && same_bits late again
            [ $? = 0 ] && ok 'MASTER_ADDR of IPv6' || not_ok "MASTER_ADDR of IPv6: $(tail -1 again.txt again.1.txt)"
        fi
    }
    CUDA_VISIBLE_DEVICES=3 "$root/build/san/train_gpt" $tiny --device cuda --gpus 2 --out refused >out.txt 2>&1
    [ $? = 1 ] && [ "$(wc -l <out.txt)" = 1 ] && grep -q 'gpus 2: CUDA_VISIBLE_DEVICES=3 has 1' out.txt && ok '--gpus: more than are to be seen' ||
        not_ok "--gpus: more than are to be seen: $(tail -1 out.txt)"
    WORLD_SIZE=two RANK=0 "$root/build/san/train_gpt" $tiny --device cuda --out refused >out.txt 2>&1
    [ $? = 1 ] && [ "$(wc -l <out.txt)" = 1 ] && grep -q 'WORLD_SIZE=two: must be a number' out.txt && ok 'WORLD_SIZE is no number' ||
        not_ok "WORLD_SIZE is no number: $(tail -1 out.txt)"
    "$root/build/release/"$gpt $common --gpus 2 --out refused >out.txt 2>&1
    [ $? = 1 ] && [ "$(wc -l <out.txt)" = 1 ] && grep -q 'mpirun -np 2 train_gpt' out.txt && ok '--gpus on CPUs: what to do' ||
        not_ok "--gpus on CPUs: $(tail -1 out.txt)"

    # lost NAME SIGNAL WORDS OPTIONS...: rank 1 of two ($victim=1: the first) gets a signal in the middle; not while a checkpoint is written,
    # when ranks wait for as long as a slow disk may take
    lost() {
        local status job pid
        rm -rf long
        local_gpus long --steps 1000000 --batch 1 --eval-every 0 --checkpoint-every 15 --watchdog 5 "${@:4}" &
        job=$!
        for _ in $(seq 600); do
            grep -q '"step":16,' long/log.jsonl 2>/dev/null && break
            sleep 0.05
        done
        pid=$(pgrep -P "$(pgrep -P $job train_gpt)" train_gpt | sed -n "${victim:-2}p")
        kill "-$2" "$pid"
        timeout 30 tail --pid=$job -f /dev/null || not_ok "$1: still there after 30 s"
        wait $job
        status=$?
        [ $status = 1 ] && grep -q "$3" long.txt && [ -f "$(find long -name manifest.json | tail -1)" ] && ok "$1" ||
            not_ok "$1: status $status: $(tail -2 long.txt)"
    }
    lost '--gpus: a rank is killed' KILL 'rank 1 has gone while rank 0 was ' --no-cuda-graph
    grep -q 'rank 1 was ended by signal 9' long.txt && ok '--gpus: what killed it is told' || not_ok '--gpus: what killed it is not told'
    lost '--gpus: a rank is stopped' STOP 'rank 1 did not respond for 5 s while rank 0 was ' --no-cuda-graph
    lost '--gpus: a rank is stopped in a graph' STOP 'rank 1 did not respond for 5 s while rank 0 was '
    victim=1 lost '--gpus: rank 0 is stopped in a graph' STOP 'rank 0 did not respond for 5 s while rank 1 was '
else
    echo 'skip emulated GPUs: build/san is not built with the emulator'
fi

# ---- faults ----

# shellcheck disable=SC2086
begin_long() { # OPTIONS: a run without end, in the background; waits for its first steps
    rm -rf long
    mpirun -np 3 "$root/build/release/"$gpt $common --batch 2 --steps 1000000 --eval-every 0 --checkpoint-every 50 --out long "$@" >long.txt 2>&1 &
    job=$!
    for _ in $(seq 300); do
        [ -d long/step_00000050 ] && break
        sleep 0.1
    done
    pid=$(pgrep -P $job train_gpt | sed -n 2p)
}

# ends NAME SECONDS WORDS: the job ends in time, with a status, those words, and no half checkpoint
ends() {
    local begun=$SECONDS status=0 left
    timeout "$2" tail --pid=$job -f /dev/null || { kill -9 $job; not_ok "$1: still there after $2 s"; }
    wait $job || status=$?
    left=$(find long -name '*.tmp' | head -1)
    if [ $status = 0 ]; then not_ok "$1: status 0"
    elif ! grep -qE "$3" long.txt; then not_ok "$1: no line with '$3': $(tail -3 long.txt | tr '\n' ' ')"
    elif [ ! -f "$(find long -name manifest.json | tail -1)" ]; then not_ok "$1: no complete checkpoint"
    else ok "$1 (status $status, $((SECONDS - begun)) s)"
    fi
    [ -z "$left" ] || echo "# an unfinished checkpoint was left aside: $left"
}

begin_long
kill -9 "$pid"
ends 'a rank is killed' 30 'rank.* (exited|noticed|signal)'
# shellcheck disable=SC2086
newest=$(find long -maxdepth 1 -name 'step_0*[0-9]' | sort | tail -1)
newest=$((10#${newest##*_}))
rm -f long.txt
# shellcheck disable=SC2086
"$root/build/release/"$gpt $common --batch 6 --steps $((newest + 2)) --out long --resume auto >one.txt 2>&1 &&
    ok 'one process goes on after that' || not_ok "one process after a kill: $(tail -1 one.txt)"

begin_long --watchdog 2
kill -STOP "$pid"
ends 'a rank is stopped' 30 'rank 1 did not respond for 2 s while rank 0 was '

# the thread that gathers and adds up beside the computation finds it out
begin_long --watchdog 2 --zero 3 --prefetch 2 --bucket 1
kill -STOP "$pid"
ends 'a rank is stopped while parameters are fetched' 30 'rank 1 did not respond for 2 s while rank 0 was (gathering|adding)'

begin_long
kill -TERM "$pid"
timeout 30 tail --pid=$job -f /dev/null
wait $job
status=$?
if [ $status = 0 ] && grep -q 'stopped by .* after step' long.txt; then
    ok 'a signal to one rank stops all, with a checkpoint'
else
    not_ok "a signal to one rank: status $status: $(tail -2 long.txt)"
fi

# two ranks that call what does not go together: both are named, with what they do
for what in gathering speaking; do
    mpirun -np 2 "$root/build/release/test_comm" $what >out.txt 2>&1
    [ $? != 0 ] && [ "$(grep -c '^test_comm: ' out.txt)" = 1 ] &&
        grep -q "for 1 s rank 0 has been adding up (call 1) and rank 1 $what (call 1): they do not run the same program" out.txt &&
        ok "one adds up, the other is $what" || not_ok "one adds up, the other is $what: $(grep -m1 '^test_comm' out.txt)"
done

# refused NAME WORDS: mpirun's status, and one line of ours
refused() {
    local status=0
    mpirun "${words[@]}" >out.txt 2>&1 || status=$?
    if [ $status != 0 ] && [ "$(grep -c '^train_gpt: ' out.txt)" = 1 ] && grep -q "$2" out.txt; then ok "$1"
    else not_ok "$1: status $status: $(grep '^train_gpt: ' out.txt)"
    fi
}
# shellcheck disable=SC2206
base=("$root/build/release/"$gpt $common --steps 2 --batch 2 --out refused)
words=(-np 2 "${base[@]}" : -np 1 "${base[@]}" --lr 0.5)
refused 'a rank with another option' 'rank 2 was given another --lr than rank 0'
words=(-np 1 "${base[@]}" --memory 8M : -np 1 "${base[@]}") # all others must hear of it, or it waits for them for good
refused 'a rank alone with --memory' 'rank 0: --memory with several ranks'
mkdir other && cp x_val.bin other && "$root/build/release/tokenize" --vocab bytes -o other/x <(tr a e <text.txt) >/dev/null
words=(-np 1 "${base[@]}" : -np 1 -wdir "$dir/other" "${base[@]}")
refused 'a rank with other data' 'rank 1 has other training data than rank 0'
cp "$root/build/release/train_gpt" other/train_gpt && echo >>other/train_gpt
words=(-np 1 "${base[@]}" : -np 1 other/train_gpt "${base[@]:1}")
refused 'a rank with another binary' 'rank 1 runs another build'
# a rank with another base, of codes; with other adapters, where no rank has them whole
# shellcheck disable=SC2086
{
    run 1 first $gpt --load base --lora 2 --steps 1 --batch 4
    run 1 second $gpt --load base --lora 2 --steps 1 --batch 4 --seed 2
    run 1 near $gpt --load base --train-only '*c_attn.weight' --steps 1 --batch 4
}
mkdir a0 a1 a2 && cp x_*.bin a0 && cp x_*.bin a1 && cp x_*.bin a2 && cp -r base first a0 &&
    cp -r first a1 && cp -r near a1/base && cp -r base a2 && cp -r second a2/first
others() { # DIRECTORY OPTIONS: a rank in a0, one there
    local there=$1
    shift
    words=(-np 1 -wdir "$dir/a0" "${base[@]}" "$@" : -np 1 -wdir "$dir/$there" "${base[@]}" "$@")
}
others a1 --load base --lora 2 --base nf4
refused 'a rank with another base in 4 bits' 'rank 1 has other weights than rank 0'
others a2 --load base --adapter first --zero 3
refused 'a rank with other adapters at stage 3' 'rank 1 has other weights than rank 0'
words=(-np 2 "${base[@]}" --optim adama --zero 1)
refused 'adama with stage 1' 'zero 1 with --optim adama'
words=(-np 2 "${base[@]}" --zero 1 --state int8)
refused '8-bit states with stage 1' 'zero 1 with --state int8: states are sharded in fp32 only'
words=(-np 2 "${base[@]}" --zero 3 --dtype bf16 --master split16)
refused 'split masters with stage 3' 'zero 3 with --dtype bf16 --master split16: masters are sharded in fp32 only'
words=(-np 2 "${base[@]}" --optim adama --state bf16)
refused 'adama with narrow states' 'several ranks with --optim adama and --state bf16'
words=(-np 2 "${base[@]}" --freeze nothing)
refused 'a mistake of all ranks, told once' 'fits no parameter'
words=(-np 3 "${base[@]}" --optim sgd --lr 1e6 --warmup 0 --steps 20)
refused 'a loss that is not finite, told once' 'rank 0: step [0-9]*: the loss is '
words=(-np 1 "${base[@]}" : -np 1 -wdir / "${base[@]}")
refused 'a rank without data' 'rank 1: '
exit $bad
