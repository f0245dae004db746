#!/usr/bin/env bash
# scale_model.sh - scripts/scale-model: within 10 % of each published run, with the trainer's own FLOPs and memory; notices when
# it is not; more GPUs, a faster network and a larger batch do what they must; what cannot be is said in a line.
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
model --gpus 4..2; grep -q -- '--gpus: 4..2: must be' "$work/out" && ! model --tokens -5 && grep -q -- '--tokens: -5: must be' "$work/out" && model --net fast
grep -q -- '--net: fast: must be a data rate' "$work/out" && ok 'what cannot be is said' || not_ok "what cannot be: $(tail -n 1 "$work/out")"
exit $bad
