#!/usr/bin/env bash
# two_hosts.sh - a run over a network: two hosts, which are network namespaces, and a wire between them.
#
#     alpha 10.77.0.1 eth0 ---- test/hosts/wire.c ---- eth0 10.77.0.2 beta
#
#   ranks over MPI (TCP), and ranks that meet by RANK, WORLD_SIZE, MASTER_ADDR: the same bits as on one host, over
#   a wire that is good, slow (50 ms each way), lossy (5 % each way), or away for less than the ranks' patience
#   a wire that is cut ends the run in time, with a reason, and the last whole checkpoint resumes to the same bits
#   two ranks on each host, sharded within it (--shard-group 2): the bits of one host, and who sends what over the wire
#
# All of it is in namespaces of its own, which end with this script, as do all processes in them.  Needs root, or a
# kernel that lets users make namespaces.  LONG=1 tries every stage over every wire.
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD
if [ "${1:-}" != --inside ]; then
    for need in unshare nsenter ip; do
        command -v $need >/dev/null || { echo "skip two hosts: no $need: apt-get install util-linux iproute2"; exit 0; }
    done
    [ -x build/release/train_gpt ] || { echo 'not ok two hosts: build/release is not built: run `make test`'; exit 1; }
    [ "$(id -u)" = 0 ] && as='' || as='--user --map-root-user'
    # shellcheck disable=SC2086 # words
    if ! why=$(unshare $as --net --uts --mount --pid --fork --kill-child --mount-proc sh -c 'ip link add v0 type veth peer name v1 && hostname alpha' 2>&1); then
        echo "skip two hosts: no network of our own can be made here: $(echo "$why" | head -n 1)"
        exit 0
    fi
    # shellcheck disable=SC2086
    exec unshare $as --net --uts --mount --pid --fork --kill-child --mount-proc bash "$0" --inside
fi

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_base_warn_component_unused=0
export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe # as Open MPI 5 has it
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 ASAN_OPTIONS=detect_leaks=0
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
bad=0
ok() { echo "ok $1"; }
not_ok() {
    echo "not ok $1"
    bad=1
}

# ---- the hosts, and the wire ----

# shellcheck disable=SC2086 # words
${CC:-cc} -std=c17 -D_GNU_SOURCE -O1 -o "$dir/wire" test/hosts/wire.c || { echo 'not ok two hosts: the wire does not compile'; exit 1; }
cd "$dir" || exit 1
export TMPDIR=$dir # of the session of Open MPI: not that of another user of the same name
declare -A host
# on HOST COMMAND...
on() {
    local where=$1
    shift
    nsenter -t "${host[$where]}" -n -u -- "$@"
}
for i in 1 2; do
    name=$([ $i = 1 ] && echo alpha || echo beta)
    mkfifo $name.up
    unshare --net --uts sh -c "hostname $name; echo >$name.up; exec sleep 100000" &
    host[$name]=$!
    read -r _ <$name.up
    ip link add $name type veth peer name eth0 netns "${host[$name]}" && ip link set $name up &&
        on $name ip addr add 10.77.0.$i/24 dev eth0 && on $name ip link set lo up && on $name ip link set eth0 up &&
        on $name ./wire --plain eth0 || { echo 'not ok two hosts: their network'; exit 1; }
done
coproc WIRE { ./wire alpha beta; }
wire() { # MORE...: each a line for the wire
    local answer line
    for line in "$@"; do
        echo "$line" >&"${WIRE[1]}"
        read -r -t 5 answer <&"${WIRE[0]}" && [ "$answer" = ok ] || { not_ok "the wire does not answer"; exit 1; }
    done
}

# What mpirun starts its daemon on another host with: no ssh, but the same thing for us.
cat >agent <<AGENT
#!/bin/sh
case \$1 in 10.77.0.2 | beta) pid=${host[beta]} ;; *) pid=${host[alpha]} ;; esac
shift
exec nsenter -t \$pid -n -u -- sh -c "\$*"
AGENT
chmod +x agent

# ---- runs ----

awk 'BEGIN { srand(3); split("the cat sat on a mat and dogs ran far", w, " ")
             for (i = 0; i < 4000; i++) printf "%s ", w[1 + int(10 * rand())] }' >text.txt
"$root/build/release/tokenize" --vocab bytes -o x text.txt >/dev/null || exit 1
gpt="--layers 1 --heads 2 --width 24 --context 16 --vocab 256 --seq 16 --batch 2 --threads 1 --warmup 2
    --train-data x_train.bin --val-data x_val.bin --eval-batches 1 --eval-every 2"

# Each leaves what it said in NAME.txt: mpi_one NAME OPTIONS on one host, mpi_two NAME OPTIONS on both; $ranks in all, and
# of two hosts the first half is on alpha ($map=node: they take turns)
ranks=2 map=slot
# shellcheck disable=SC2086
mpi_one() {
    local name=$1
    shift
    on alpha timeout 100 mpirun -np $ranks "$root/build/release/train_gpt" $gpt --device cpu --out "$name" "$@" >"$name.txt" 2>&1
}
# tcp_tries N: how often TCP sends again before it gives a host up
tcp_tries() { on alpha sh -c "echo $1 >/proc/sys/net/ipv4/tcp_retries2" 2>/dev/null && on beta sh -c "echo $1 >/proc/sys/net/ipv4/tcp_retries2"; }

# shellcheck disable=SC2086
mpi_two() {
    local name=$1
    shift
    printf '10.77.0.%d slots=%d\n' 1 $((ranks / 2)) 2 $((ranks / 2)) >hosts
    env OMPI_MCA_plm_rsh_agent="$dir/agent" OMPI_MCA_btl=tcp,self OMPI_MCA_btl_tcp_if_include=eth0 OMPI_MCA_oob_tcp_if_include=eth0 \
        PRTE_MCA_plm_ssh_agent="$dir/agent" PRTE_MCA_prte_if_include=eth0 \
        nsenter -t "${host[alpha]}" -n -u -- timeout 100 mpirun -np $ranks --hostfile hosts --map-by $map \
        "$root/build/release/train_gpt" $gpt --device cpu --out "$name" "$@" >"$name.txt" 2>&1
}
same() { cmp -s "$1/model.safetensors" "$2/model.safetensors" && cmp -s <(losses "$1") <(losses "$2"); }
losses() { grep -oE '"(loss|val_loss|grad_norm)":[^,}]*' "$1/log.jsonl"; }

# arrives NAME COMMAND REFERENCE OPTIONS: run so, it has the bits of REFERENCE
arrives() {
    local name=$1 command=$2 reference=$3
    shift 3
    rm -rf two
    if ! $command two "$@"; then
        not_ok "$name: $(grep -m 1 '^train_gpt: ' two.txt || tail -n 1 two.txt)"
    elif ! same "$reference" two; then
        not_ok "$name: other losses or other bits than on one host: $(losses two | head -n 2 | tr '\n' ' ')"
    else
        ok "$name"
    fi
}

# seen SECONDS COMMAND...: it succeeds within these
seen() {
    local end=$((SECONDS + $1))
    shift
    until "$@" 2>/dev/null; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.05
    done
}

# cut NAME TWO ONE PATIENCE FAST SLOW OPTIONS: a run by TWO has the losses of a run on one host, by ONE; it goes on when
# the wire is away for a moment, and is ended in time, and with a reason, when it is cut.  The wire is FAST up to the
# checkpoint of step 10, and then so SLOW that the next one is far away: in a checkpoint, ranks wait for slow disks.
cut() {
    local name=$1 two=$2 one=$3 patience=$4 fast=$5 slow=$6 job status=0
    shift 6
    rm -rf two long whole
    wire whole "$fast"
    "$two" long --steps 1000000 --watchdog "$patience" "$@" &
    job=$!
    seen 60 grep -q '"step":11,' long/log.jsonl || not_ok "$name: it does not come to step 11: $(grep -m 1 train_gpt: long.txt)"
    wire cut
    sleep 0.5
    wire whole "$slow"
    seen 60 grep -q '"step":13,' long/log.jsonl && ok "$name: it goes on after a moment without a wire" ||
        not_ok "$name: it does not go on after a moment without a wire: $(grep -m 1 train_gpt: long.txt)"
    wire cut
    timeout 60 tail --pid=$job -s 0.2 -f /dev/null || { not_ok "$name: still there after 60 s"; kill $job; }
    wait $job || status=$?
    wire whole
    if [ $status = 0 ] || [ $status = 124 ] || ! cat long.txt long.1.txt 2>/dev/null | grep -qE "ranks? [0-3][0-9, ]* did not respond for $patience s while rank [0-3] was |rank [0-3] has gone while rank [0-3] was "; then
        not_ok "$name: cut: status $status: $(cat long.txt long.1.txt 2>/dev/null | grep -m 2 train_gpt: | tr '\n' ' ')"
    else
        ok "$name: a wire that is cut ends it"
    fi
    "$one" whole --steps 12 "$@" || not_ok "$name: on one host: $(grep -m 1 train_gpt: whole.txt)"
    [ "$(losses whole | wc -l)" = 24 ] && cmp -s <(losses whole) <(losses long | head -n 24) && ok "$name: until then, the losses of one host" ||
        not_ok "$name: losses of one host, $(losses whole | tail -n 2 | tr '\n' ' '), and of two, $(losses long | sed -n '23p;24p' | tr '\n' ' ')"
}

# resumed NAME ONE OPTIONS: the last whole checkpoint of that run resumes on one host, and then has the bits of a run
# that nothing happened to
resumed() {
    local name=$1 one=$2 newest
    shift 2
    rm -rf whole
    newest=$(find long -maxdepth 1 -name 'step_*' | sort | tail -n 1)
    newest=$((10#${newest##*_}))
    if ! "$one" whole --steps $((newest + 2)) "$@" || ! "$one" long --steps $((newest + 2)) --resume auto "$@"; then
        not_ok "$name: not resumed: $(grep -h -m 1 train_gpt: whole.txt long.txt)"
    elif ! same whole long; then
        not_ok "$name: other losses or bits than without: $(losses long | tail -n 3 | tr '\n' ' ')"
    else
        ok "$name: resumed from step $newest to the same bits"
    fi
}

# crosses NAME: what the last run said of four ranks in two groups: who is where, and that each sends over the wire what
# it updates, twice, and nothing else
crosses() {
    local where own
    where=$(sed -n 's/^  rank \([0-9]\) on \([a-z]*\): .*/\1 \2/p' two.txt | tr '\n' ' ')
    own=$(sed -n 's/^  rank 0 on .*; updates \([0-9]*\) of .*/\1/p' two.txt)
    [ "$where" = '0 alpha 1 alpha 2 beta 3 beta ' ] && grep -q 'in groups of 2 ranks$' two.txt &&
        [ "$(grep -o '"between_bytes":[0-9]*' two/log.jsonl | tail -n 1)" = '"between_bytes":'$((2 * 4 * own)) ] && ok "$1" ||
        not_ok "$1: $where, $own: $(grep -o '"between_bytes":[0-9]*' two/log.jsonl | tail -n 1)"
}
endless='--eval-every 0 --schedule constant --checkpoint-every 10'

if command -v mpirun >/dev/null && grep -q MPI_Init "$root/build/release/train_gpt"; then
    mpi_one one --steps 4 --zero 2 --checkpoint-every 2 || { not_ok "MPI: one host: $(tail -n 1 one.txt)"; exit 1; }
    arrives 'MPI: two hosts are as good as one' mpi_two one --steps 4 --zero 2
    grep -q '^  rank 0 on alpha: cpu, 1 thread' two.txt && grep -q '^  rank 1 on beta: cpu, 1 thread' two.txt &&
        ok 'MPI: who is where' || not_ok "MPI: who is where: $(grep -A 2 '^ranks:' two.txt | tr '\n' ' ')"
    wire 'loss 5'
    arrives 'MPI: a wire that loses 5 %' mpi_two one --steps 4 --zero 3
    mpi_one short --steps 1 --eval-every 0
    wire whole 'delay 50'
    arrives 'MPI: a wire of 50 ms' mpi_two short --steps 1 --eval-every 0 --zero 1
    wire whole
    groups='--steps 2 --eval-every 0'
    # shellcheck disable=SC2086
    {
        ranks=4 mpi_one four $groups
        ranks=4 arrives 'MPI: groups within each host' mpi_two four $groups --zero 3 --shard-group 2
        crosses 'MPI: what groups send between hosts'
    }
    if [ "${LONG:-0}" = 1 ]; then
        # shellcheck disable=SC2086
        for z in 1 2 3; do
            for bad_wire in 'delay 20' 'loss 5'; do
                wire whole "$bad_wire"
                ranks=4 arrives "MPI: groups, stage $z, $bad_wire" mpi_two four $groups --zero $z --shard-group 2
                crosses "MPI: groups, stage $z, between hosts"
            done
            wire whole
            map=node ranks=4 arrives "MPI: groups across hosts, stage $z" mpi_two four $groups --zero $z --shard-group 2
        done
        for z in 0 1 2 3; do
            for bad_wire in 'delay 50' 'loss 5' 'loss 20'; do
                wire whole "$bad_wire"
                arrives "MPI: stage $z, $bad_wire" mpi_two one --steps 4 --zero $z
            done
            wire 'delay 20'
            arrives "MPI: stage $z, loss 20 and delay 20" mpi_two one --steps 4 --zero $z
        done
    fi

    # mpirun and its daemons notice only what TCP does: after a quarter of an hour, with the kernel's 15 tries
    if tcp_tries 3; then
        # shellcheck disable=SC2086
        cut MPI mpi_two mpi_one 3 'delay 3' 'delay 20' --zero 2 $endless
        # shellcheck disable=SC2086
        resumed MPI mpi_one --zero 2 $endless
        if [ "${LONG:-0}" = 1 ]; then
            # shellcheck disable=SC2086
            ranks=4 cut 'MPI, groups' mpi_two mpi_one 3 'delay 3' 'delay 20' --zero 3 --shard-group 2 $endless
            # shellcheck disable=SC2086
            ranks=4 resumed 'MPI, groups' mpi_one --zero 1 $endless
        fi
        tcp_tries 15
    else
        echo 'skip MPI: a wire that is cut: tcp_retries2 cannot be set here'
    fi
else
    echo 'skip MPI over two hosts: no mpirun, or built without MPI'
fi

# ---- GPUs, both emulated; their hosts meet over the wire ----

san=${SAN_PROGRAM:-$root/build/san/train_gpt}
tiny="--layers 1 --heads 2 --width 12 --context 8 --vocab 256 --seq 8 --batch 1 --threads 1 --warmup 2 --eval-batches 1
    --train-data x_train.bin --val-data x_val.bin --device cuda --no-cuda-graph --zero 2"
# shellcheck disable=SC2086
met_one() {
    local name=$1
    shift
    on alpha timeout 100 "$san" $tiny --gpus $ranks --out "$name" "$@" >"$name.txt" 2>&1
}
# shellcheck disable=SC2086
met_two() {
    local name=$1 others='' status=0 r where
    shift
    export WORLD_SIZE=$ranks MASTER_ADDR=10.77.0.1 MASTER_PORT=$((20000 + RANDOM % 12000))
    for ((r = 0; r < ranks; r++)); do
        where=alpha
        [ $((2 * r)) -lt $ranks ] || where=beta
        RANK=$r LOCAL_RANK=$((r % (ranks / 2))) on $where timeout 100 "$san" $tiny --out "$name" "$@" >"$name$([ $r = 0 ] || echo .$r).txt" 2>&1 &
        others="$others $!"
    done
    for r in $others; do wait "$r" || status=$?; done
    unset WORLD_SIZE MASTER_ADDR MASTER_PORT
    return $status
}
if [ -x "$san" ] && grep -q 'emulated NCCL' "$san"; then
    wire whole
    met_one met --steps 3 || not_ok "GPUs: one host: $(tail -n 1 met.txt)"
    wire 'delay 50' 'loss 5'
    arrives 'RANK, MASTER_ADDR: a wire of 50 ms that loses 5 %' met_two met --steps 3
    grep -q '^  rank 1 on beta: cuda, emulated GPU, 1.0 GiB, its GPU 0; updates' two.txt && ok 'RANK, MASTER_ADDR: who is where' ||
        not_ok "RANK, MASTER_ADDR: who is where: $(grep -A 2 '^ranks:' two.txt | tr '\n' ' ')"
    if [ "${LONG:-0}" = 1 ]; then
        for z in 2 3; do
            ranks=4 met_one flat --steps 2 --zero $z --shard-group 2 # NCCL's sums over groups have their own last bits
            ranks=4 arrives "RANK, MASTER_ADDR: groups within each host, stage $z" met_two flat --steps 2 --zero $z --shard-group 2
            crosses "RANK, MASTER_ADDR: groups, stage $z, between hosts"
        done
        # the wire carries their agreements alone, and NCCL is the emulator's: steps go on until TCP misses the other
        # host, after 20 seconds
        # shellcheck disable=SC2086
        cut 'RANK, MASTER_ADDR' met_two met_one 8 'delay 20' 'delay 50' ${endless% *} 0
        wire 'loss 20'
        arrives 'RANK, MASTER_ADDR: a wire that loses 20 %' met_two met --steps 3
    fi
else
    echo 'skip emulated GPUs on two hosts: build/san is not built with the emulator'
fi
exit $bad
