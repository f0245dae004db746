#!/usr/bin/env bash
# scale_model.sh - scripts/scale-model: within 10 % of each published run, with the trainer's own FLOPs and memory; notices when
# it is not; more GPUs, a faster network, a larger batch and groups do what they must; what cannot be is said in a line.
set -u
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
bad=0
if ! command -v python3 >/dev/null; then
    echo "skip the model of many GPUs needs Python 3"
    exit 0
fi
program=$PWD/build/release/train_gpt
ok() { echo "ok $1"; }
not_ok() {
    echo "not ok $1"
    bad=1
}
model() { "$work/scripts/scale-model" --program "$program" "$@" >"$work/out" 2>&1; }
mkdir "$work/scripts" && cp scripts/scale-model scripts/gpu-model scripts/published-runs.tsv "$work/scripts"

model --check && [ "$(grep -c '^| .*https://' "$work/out")" -ge 8 ] && ok 'within 10 % of each published run' ||
    not_ok "published runs: $(tail -n 2 "$work/out" | tr '\n' ' ')"
# a run that had been a fifth faster, and a trainer that counts other FLOPs, are noticed
sed -i '/^llm.q 3B/s/30000/36000/' "$work/scripts/published-runs.tsv"
model --check && not_ok 'a published run that is a fifth faster passes' || ok 'a published run that is a fifth faster is noticed'
cp scripts/published-runs.tsv "$work/scripts"
sed -i 's/3.5 \* attention/9 * attention/' "$work/scripts/scale-model"
! model --check && grep -q "and the trainer counts" "$work/out" && ok "FLOPs are the trainer's own" || not_ok "other FLOPs: $(tail -n 1 "$work/out")"
cp scripts/scale-model "$work/scripts"

# rate GPUS OPTIONS: tokens/s of that row
rate() {
    local gpus=$1
    shift
    model --model gpt2-124m --batch 16 --seq 1024 --zero 1 "$@" && awk -F '|' -v n="$gpus" '$2 + 0 == n { gsub(/[, ]/, "", $5); print $5 }' "$work/out"
}
rows=$(model --model llama3.1-8b --gpus 1..4096 --recompute attention && grep -cE '^\| [0-9]+ \| [0-9]+ \| [0-9]' "$work/out")
[ "$rows" = 11 ] && [ "$(grep -c 'too much' "$work/out")" = 2 ] && ok '1 to 4096 GPUs: the powers of two, and where it does not fit' ||
    not_ok "1 to 4096 GPUs: $rows rows: $(tail -n 1 "$work/out")"
grep -E '^\| [0-9]+ \| [0-9]+ \| [0-9]' "$work/out" | awk -F '|' '{ gsub(/[, ]/, "", $5); if ($5 + 0 <= last) exit 1; last = $5 + 0 }' &&
    ok 'more GPUs, more tokens' || not_ok 'more GPUs, fewer tokens'
planned=$("$program" --plan --json --model llama3.1-8b --batch 2 --seq 8192 --dtype bf16 --optim adamw --zero 3 --ranks 64 --recompute attention --eval-every 0 |
    grep -o '"peak_bytes":[0-9]*' | cut -d: -f2)
grep -qF "| 64 | 8 |" "$work/out" && grep -F '| 64 | 8 |' "$work/out" | awk -F '|' -v p="$planned" '{ exit !($9 == sprintf(" %.1f ", p / 2^30)) }' &&
    ok "memory is the trainer's plan" || not_ok "memory: $(grep -F '| 64 | 8 |' "$work/out"), planned $planned"
fast=$(rate 64 --gpus 64) slow=$(rate 64 --gpus 64 --net 10G --cards 1) one=$(rate 64 --gpus 64 --net 10G --cards 1 --nodes 1)
[ "$slow" -lt "$fast" ] && [ "$slow" -lt "$one" ] && ok 'a slow network costs, unless all are on one node' || not_ok "a slow network: $fast, $slow, $one"
model --model gpt2-124m --batch 16 --seq 1024 --zero 1 --gpus 8..64 --net 10G --cards 1 && grep -q 'stops scaling at 16: the network moves' "$work/out" &&
    ok 'where it stops scaling, and why' || not_ok "where it stops: $(tail -n 1 "$work/out")"
model --model llama3.1-8b --recompute attention --gpus 256..1024 --tokens-step 4194304 && grep -q 'stops scaling at 1024: 4194304 tokens a step are less' "$work/out" &&
    ok 'a step that is too small for so many' || not_ok "a step that is too small: $(tail -n 1 "$work/out")"
# most layers of Gemma 3 attend in windows; what the model does not know of a layer is noticed here, too
model --model gemma3-1b --gpus 8 --batch 1 --seq 8192 && ok 'windows count as the trainer has them' || not_ok "windows: $(tail -n 1 "$work/out")"
sed -i 's/window = min(self.window, seq)/window = 0/' "$work/scripts/scale-model"
! model --model gemma3-1b --gpus 8 --batch 1 --seq 8192 && grep -q 'gemma3-1b: .* and the trainer counts' "$work/out" && ok 'attention without windows is noticed' ||
    not_ok "attention without windows: $(tail -n 1 "$work/out")"
cp scripts/scale-model "$work/scripts"
# groups: as many as all GPUs are none; memory is that of the group's size; a node sends twice the sums of what it has
field() { awk -F '|' -v n="$1" -v k="$2" '$2 + 0 == n { gsub(/[, GB]/, "", $k); print $k }' "$work/out"; }
llama='--model llama3.1-8b --zero 3 --recompute attention --net 100G --cards 1'
# shellcheck disable=SC2086
{
    model $llama --gpus 64 && cp "$work/out" "$work/flat" && model $llama --gpus 64 --shard-group 64 && cmp -s "$work/out" "$work/flat" &&
        ok 'a group of all is none' || not_ok "a group of all: $(tail -n 1 "$work/out")"
    model $llama --gpus 8..64 && flat=$(field 64 12) flat_rate=$(field 64 5) && [ "$(field 8 12)" = 0.00 ] &&
        ok 'one node sends nothing to others' || not_ok "one node sends $(field 8 12) GB"
    gib=$(field 8 9)
    model $llama --gpus 8..64 --shard-group 8 && grouped=$(field 64 12) && [ "$(field 8 9),$(field 16 9),$(field 64 9)" = "$gib,$gib,$gib" ] &&
        ok "a GPU has what one of its group's size has" || not_ok "memory in groups of 8: $(field 64 9), among 8 $gib"
    want=$("$program" --plan --json --model llama3.1-8b --batch 1 --seq 64 | grep -o '"parameters":[0-9]*' | head -n 1 | cut -d: -f2 |
        awk '{ printf "%.2f", 2 * 2 * $1 * 7 / 8 / 1e9 }')
    [ "$grouped" = "$want" ] && awk -v a="$flat" -v b="$grouped" 'BEGIN { exit !(a / b > 1.5) }' && [ "$(field 64 5)" -gt "$flat_rate" ] &&
        ok 'less goes between nodes, and more tokens are trained on' ||
        not_ok "between nodes: $grouped GB, $want expected, without groups $flat; tokens/s $(field 64 5), $flat_rate"
    model $llama --gpus 64 --shard-group 16 && half=$(field 64 12) && model $llama --gpus 64 --shard-group 8 --nodes 1 && [ "$(field 64 12)" = 0.00 ] &&
        awk -v a="$half" -v b="$flat" 'BEGIN { exit !(a > b) }' && ok 'groups that are over two nodes send more than none' ||
        not_ok "groups over two nodes: $half GB"
    # a change of the model that gathers from all is noticed
    sed -i 's/^    return min(run.shard_group or ranks, ranks)/    return ranks/' "$work/scripts/scale-model"
    model $llama --gpus 64 --shard-group 8 && [ "$(field 64 12)" = "$flat" ] && ok 'a model without groups is noticed' ||
        not_ok "groups taken from the model: $(field 64 12), $flat"
    cp scripts/scale-model "$work/scripts"
    for wrong in '--zero 0 --shard-group 8:nothing is sharded' '--shard-group 1:shards nothing' '--gpus 12 --shard-group 8:12 GPUs are not whole groups' \
        '--gpus 24 --shard-group 3:a node has 8'; do
        ! model ${wrong%:*} && grep -q -- "${wrong#*:}" "$work/out" && ok "${wrong%:*}: refused" || not_ok "${wrong%:*}: $(tail -n 1 "$work/out")"
    done
}
model --gpus 4..2; grep -q -- '--gpus: 4..2: must be' "$work/out" && ! model --tokens -5 && grep -q -- '--tokens: -5: must be' "$work/out" && model --net fast
grep -q -- '--net: fast: must be a data rate' "$work/out" && ok 'what cannot be is said' || not_ok "what cannot be: $(tail -n 1 "$work/out")"
exit $bad
