#!/usr/bin/env bash
# test_compare.sh - scripts/compare, plot, paper-table and reuse-table: what they say is what the runs'
# logs and plans say, cut off they go on, and bad input is one clear line.
#
# With the programs of build/release; comparisons are made in runs/compare-test-*, and removed.
set -u
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d) || exit 1
tag=test-$$
program=build/release/train_gpt
trap 'rm -rf "$work" "runs/compare-$tag"*' EXIT
bad=0

ok() { echo "ok compare: $1"; }
not_ok() { echo "not ok compare: $1: $2"; bad=1; }
check() { # TITLE WHY CONDITION...
    local title=$1 why=$2
    shift 2
    if "$@"; then ok "$title"; else not_ok "$title" "$why"; fi
}

# refuses TITLE WORDS COMMAND...: status 1 and one line with the words, which | separates
refuses() {
    local title=$1 words=$2 status word
    shift 2
    timeout 60 "$@" >"$work/out" 2>"$work/err" </dev/null
    status=$?
    IFS='|' read -ra words <<<"$words"
    [ $status -eq 1 ] || { not_ok "$title" "status $status: $(head -c 300 "$work/err")"; return; }
    [ "$(wc -l <"$work/err")" -eq 1 ] || { not_ok "$title" "not one line: $(head -c 300 "$work/err")"; return; }
    for word in "${words[@]}"; do
        grep -qF -e "$word" "$work/err" || { not_ok "$title" "nothing about '$word': $(cat "$work/err")"; return; }
    done
    ok "$title"
}

if [ ! -x $program ] || [ ! -x build/release/tokenize ] || [ ! -x ./train_gpt ]; then
    echo "not ok compare: build/release is not built: run \`make test\`"
    exit 1
fi

awk 'BEGIN { for (i = 0; i < 9000; i++) printf "%d %s\n", i * i % 97, substr("in the beginning was the word", i % 11 + 1, 12) }' >"$work/text"
build/release/tokenize --vocab bpe:300 -o "$work/t" "$work/text" >/dev/null || { echo "not ok compare: no data"; exit 1; }
vocab=$(awk 'NR == 1 { print $3 }' "$work/t.vocab")
common=(--program "$program" --model gpt-nano --layers 1 --width 32 --heads 2 --vocab "$vocab" --batch 2 --seq 16 --threads 2
    --eval-batches 2 --warmup 2 --train-data "$work/t_train.bin" --val-data "$work/t_val.bin")
small=("${common[@]}" --steps 12 --eval-every 4)

compare() { # NAME OPTIONS...: into out and err
    local name=$1
    shift
    timeout 300 scripts/compare --name "$tag$name" "$@" >"$work/out" 2>"$work/err" </dev/null
}
field() { # COLUMN RUN-PREFIX NAME: of report.tsv
    awk -F '\t' -v c="$1" -v run="$2" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == c) k = i } index($1, run) == 1 { print $k }' \
        "runs/compare-$tag$3/report.tsv"
}

# ---- a comparison ----

compare '' --optim adamw,adamw_r,lion/passes,lion_r/passes --seeds 1,2 --lrs 1e-3,3e-3 --lrs lion=1e-4 "${small[@]}"
status=$?
cp "$work/out" "$work/first"
out=runs/compare-$tag
check 'runs all' "status $status: $(head -c 300 "$work/err")" [ $status -eq 0 ]
check 'twelve runs' "$(ls $out)" [ "$(ls -d $out/*-s[12] | wc -l)" -eq 12 ]
check 'a table row for each optimizer and rate' "$(cat "$work/out")" [ "$(grep -cE '^(adamw|lion)(_r)? ' "$work/out")" -eq 6 ]
check 'adamw_r is the same bits as adamw' "$(cat "$work/out")" [ "$(grep -cE '^adamw_r .* adamw$' "$work/out")" -eq 2 ]
check 'adamw is not as anything before' "$(cat "$work/out")" [ "$(grep -cE '^adamw .* -$' "$work/out")" -eq 2 ]
run=$out/adamw_r-lr3e-3-s2
last=$(sed -n 's/^{"step":12,"loss":\([^,]*\),.*/\1/p' $run/log.jsonl)
check 'the loss is the log'"'"'s' "$(field loss adamw_r-lr3e-3-s2 '') and $last" [ "$(field loss adamw_r-lr3e-3-s2 '')" = "$last" ]
check 'planned is allocated' 'not equal' [ "$(field planned adamw_r-lr3e-3-s2 '')" = "$(field handed_out adamw_r-lr3e-3-s2 '')" ]
bound=$(sed -n 's/.*lower bound \([0-9]*\).*/\1/p' $run/plan.txt)
check 'the lower bound is the plan'"'"'s' "$bound" [ "$(field lower_bound adamw_r-lr3e-3-s2 '')" = "$bound" ]
check 'times of the phases are in the log' "$(sed -n 1p $run/log.jsonl)" \
    [ "$(grep -cE '"ms":[0-9.]+,"forward_ms":[0-9.e-]+,"backward_ms":[0-9.e-]+,"optimizer_ms":[0-9.e-]+,' $run/log.jsonl)" -eq 12 ]
check 'no checkpoint stays' "$(ls $run)" [ "$(ls -d $run/step_* 2>/dev/null | wc -l)" -eq 0 ]
page=$out/report.html
for words in 'cpu, 2 threads' "$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)" '--optim adamw,adamw_r' \
    'Training loss' 'Validation loss' 'Memory at the peak' 'Time of a step' 'learning rate' 'activations'; do
    check "the page says $words" 'it does not' grep -qF -e "$words" $page
done
check 'the page needs no other file' "$(grep -oE '(src|href)=.{30}' $page)" [ "$(grep -cE '(src|href)=|@import|url\(' $page)" -eq 0 ]
check 'a bar of each optimizer, and of each run' "$(grep -c '<title>forward: ' $page)" \
    [ "$(grep -c '<title>parameters: ' $page) $(grep -c '<title>forward: ' $page)" = '4 12' ]
check 'the page says which is best' 'no sentence' grep -qE '<b>Lowest validation loss: ' $page
check 'a curve that lies on another says so' 'it does not' grep -qF 'same curve as adamw' $page
check 'the page has values for the pointer' 'none' [ "$(grep -c 'data-chart=' $page)" -ge 3 ]
check 'every chart is closed' 'svg tags' [ "$(grep -o '<svg ' $page | wc -l)" -eq "$(grep -o '</svg>' $page | wc -l)" ]

# all of the memory is in the bars
compare -bf16 --optim adamw "${common[@]}" --width 256 --layers 2 --steps 2 --eval-every 0 --dtype bf16
status=$?
sum=$(awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) { if ($i == "parameters") first = i; if ($i == "planned") planned = i } }
    NR == 2 { for (i = first; i <= NF; i++) sum += $i; d = sum - $planned / 1048576; print (d < 0 ? -d : d) }' "runs/compare-$tag-bf16/report.tsv")
check 'kinds of memory add up to what is planned, masters of bf16, too' "status $status, off by $sum MiB" awk "BEGIN { exit !($status == 0 && \"$sum\" != \"\" && $sum < 0.5) }"

# ---- what is there is left alone; what is missing is run ----

rm -rf $out/adamw_r-lr3e-3-s2
compare '' --optim adamw,adamw_r,lion/passes,lion_r/passes --seeds 1,2 --lrs 1e-3,3e-3 --lrs lion=1e-4 "${small[@]}"
check 'only what is missing is run' "$(cat "$work/out")" [ "$(grep -c 'done before' "$work/out")" -eq 11 ]
check 'and gives the same bits' "$(cat "$work/out")" [ "$(grep -cE '^adamw_r .* adamw$' "$work/out")" -eq 2 ]

# one bit of one parameter; one digit of one loss
cp $run/model.safetensors "$work/kept"
printf '\377' | dd of=$run/model.safetensors bs=1 conv=notrunc seek=$(($(wc -c <$run/model.safetensors) - 2)) 2>/dev/null
compare '' --report --optim adamw,adamw_r,lion/passes,lion_r/passes --seeds 1,2 --lrs 1e-3,3e-3 --lrs lion=1e-4 "${small[@]}"
check 'another bit in a parameter is seen' "$(cat "$work/out")" [ "$(grep -cE '^adamw_r .* adamw$' "$work/out")" -eq 1 ]
cp "$work/kept" $run/model.safetensors
sed -i '3s/"loss":\([0-9]\)\.[0-9]/"loss":\1.x/; 3s/x/0/' $run/log.jsonl
sed -i '3s/"loss":[0-9.]*/"loss":1.25/' $run/log.jsonl
compare '' --report --optim adamw,adamw_r,lion/passes,lion_r/passes --seeds 1,2 --lrs 1e-3,3e-3 --lrs lion=1e-4 "${small[@]}"
check 'another loss is seen' "$(cat "$work/out")" [ "$(grep -cE '^adamw_r .* adamw$' "$work/out")" -eq 1 ]

refuses 'other options for a run that is there' 'other options|--name' \
    scripts/compare --name "$tag" --optim adamw --lrs 1e-3 --seeds 1 "${common[@]}" --steps 13 --eval-every 4

# ---- cut off ----

long=("${common[@]}" --steps 1500 --eval-every 500 --checkpoint-every 250)
scripts/compare --name "$tag-cut" --optim adamw "${long[@]}" >"$work/out" 2>"$work/err" </dev/null &
pid=$!
log=runs/compare-$tag-cut/adamw-lrdefault-s1/log.jsonl
for _ in $(seq 600); do
    [ "$(cat $log 2>/dev/null | wc -l)" -lt 50 ] || break
    sleep 0.05
done
kill -TERM $pid
wait $pid
status=$?
check 'stopped: status 1 and how to resume' "status $status, $(cat "$work/err")" \
    [ "$status $(grep -c 'the same command resumes it' "$work/err")" = '1 1' ]
lines=$(wc -l <$log)
compare -cut --optim adamw "${long[@]}"
check 'it goes on from there' "$(head -c 400 "$work/err")" grep -q 'resuming from' runs/compare-$tag-cut/adamw-lrdefault-s1/output.txt
check 'it had been cut off' "$lines lines" [ "$lines" -lt 1500 ]
compare -whole --optim adamw "${long[@]}"
check 'and ends with the bits of a run that was not cut off' 'other bits' \
    [ "$(field bits adamw -cut)" = "$(field bits adamw -whole)" ]

# ---- from another folder, two at a time, begun again ----

here=$PWD
(cd "$work" && timeout 300 "$here/scripts/compare" --dir there --jobs 2 --optim adamw,sgd "${common[@]/#$program/$here/$program}" \
    --threads 1 --train-data t_train.bin --val-data t_val.bin --steps 6 --eval-every 0) >"$work/out" 2>"$work/err" </dev/null
status=$?
check 'from another folder, with its own file names' "status $status $(head -c 300 "$work/err")" \
    [ "$status $(ls -d "$work"/there/*-s1 | wc -l) $(ls "$work/there/report.html")" = "0 2 $work/there/report.html" ]
again=("$here/scripts/compare" --dir "$work/there" --optim adamw "${common[@]}" --steps 7 --eval-every 0)
refuses 'and other options are refused without --force' 'other options|--force' "${again[@]}"
"${again[@]}" --force >"$work/out" 2>"$work/err" </dev/null
check 'with --force it begins again' "$(head -c 300 "$work/err")" [ "$(grep -c '"loss":' "$work/there/adamw-lrdefault-s1/log.jsonl")" = 7 ]
refuses 'no jobs' '--jobs 0' scripts/compare --jobs 0 --optim adamw "${small[@]}"

# ---- a run that diverges is a result ----

compare -far --optim sgd --lrs 1e-2,1e6 "${common[@]}" --steps 12 --eval-every 0
status=$?
check 'divergence is told' "status $status: $(cat "$work/out" "$work/err")" grep -qE '^sgd .*diverged: step' "$work/out"
compare -far --optim sgd --lrs 1e-2,1e6 "${common[@]}" --steps 12 --eval-every 0
check 'and is not tried again' "$(cat "$work/out")" [ "$(grep -c 'done before' "$work/out")" -eq 2 ]

# ---- bad input ----

refuses 'unknown optimizer' 'adamv|nearest' scripts/compare --name "$tag-x" --optim adamw,adamv "${small[@]}"
refuses 'an option that an optimizer has not' '--beta3|adamw has no' \
    scripts/compare --name "$tag-x" --optim adan,adamw --beta3 0.9 "${small[@]}"
refuses 'no list' 'empty|--optim adamw,adamw_r' scripts/compare "${small[@]}"
refuses 'empty list' 'empty' scripts/compare --optim '' "${small[@]}"
refuses 'list of nothing' 'empty' scripts/compare --optim , "${small[@]}"
refuses 'twice the same' 'adamw appears twice' scripts/compare --optim adamw,adamw "${small[@]}"
refuses 'a seed that is none' '--seeds x' scripts/compare --optim adamw --seeds 1,x "${small[@]}"
refuses 'empty seeds' '--seeds|empty' scripts/compare --optim adamw --seeds '' "${small[@]}"
refuses 'a rate that is none' '--lrs' scripts/compare --optim adamw --lrs 1e-3,fast "${small[@]}"
refuses 'rates of an optimizer that is not there' 'lion' scripts/compare --optim adamw --lrs lion=1 "${small[@]}"
refuses '--out' '--name' scripts/compare --optim adamw --out x "${small[@]}"
refuses 'no such program' 'not there' scripts/compare --optim adamw --program ./none
refuses 'an option that is none' '--stepz' scripts/compare --name "$tag-x" --optim adamw "${small[@]}" --stepz 3
refuses 'no data' 'none_train.bin' scripts/compare --name "$tag-x" --optim adamw "${small[@]}" --train-data "$work/none_train.bin"
check 'nothing was begun' "$(ls runs)" [ "$(ls -d runs/compare-$tag-x/*/model.safetensors 2>/dev/null | wc -l)" -eq 0 ]
compare -x --optim adamw "${small[@]}"
status=$?
check 'what did not begin may begin with other options' "$(cat "$work/err")" [ $status -eq 0 ]
rm -rf "runs/compare-$tag-x"

# ---- plot ----

scripts/plot -o "$work/p.svg" --follow 1 $out/adamw-lr1e-3-s1 $out/lion.passes-lr1e-4-s1 >"$work/out" 2>"$work/err"
status=$?
check 'plot draws, and stops following what is through' "status $status $(cat "$work/err")" \
    [ "$status $(grep -c '<path ' "$work/p.svg" | awk '{ print ($1 > 20) }')" = '0 1' ]
check 'plot names the runs' 'no name' grep -q 'lion.passes-lr1e-4-s1, validation' "$work/p.svg"
mkdir -p "$work/empty"
: >"$work/empty/log.jsonl"
refuses 'plot: no runs' 'no runs' scripts/plot -o "$work/q.svg"
refuses 'plot: not a directory' 'not a directory' scripts/plot -o "$work/q.svg" "$work/none"
refuses 'plot: no log' 'no log.jsonl' scripts/plot -o "$work/q.svg" "$work"
refuses 'plot: an empty log' 'no steps' scripts/plot -o "$work/q.svg" "$work/empty"
refuses 'plot: nowhere to draw' 'cannot be written' scripts/plot -o "$work/none/../text/q.svg" $out/adamw-lr1e-3-s1
refuses 'plot: on a directory' 'is a directory' scripts/plot -o "$work/empty" $out/adamw-lr1e-3-s1
odd=$work/$'a b<&>\xe9'
"$program" "${common[@]:2}" --device cpu --steps 1 --eval-every 0 --out "$odd" >/dev/null
check 'options.json: in UTF-8' 'it is not' iconv -f UTF-8 -t UTF-8 -o /dev/null "$odd/options.json"
scripts/plot -o "$work/odd.svg" "$odd" >/dev/null
check 'plot: an odd name' "$(grep -o '<title>.*</title>' "$work/odd.svg")" grep -q '<title>a b&lt;&amp;&gt;</title>' "$work/odd.svg"
check 'plot: in UTF-8' 'it is not' iconv -f UTF-8 -t UTF-8 -o /dev/null "$work/odd.svg"
refuses 'plot: an unknown option' '--fellow' scripts/plot --fellow $out/adamw-lr1e-3-s1

# ---- the plan's picture ----

"$program" --plan --model gpt-nano --batch 2 --seq 16 --optim adamw_r --plan-beside adamw/passes --out "$work/plan" >"$work/out" 2>"$work/err"
picture=$work/plan/plan.svg
check 'the picture of two plans is XML' "$(cat "$work/err")" \
    python3 -c 'import sys, xml.dom.minidom as m; m.parse(sys.argv[1])' "$picture"
check 'with peaks, phases and both optimizers' "$(grep -o '<text.*' "$picture" | head -30)" \
    [ "$(grep -cE '>peak [0-9.]+ MiB|>(forward|backward|optimizer)<|>adamw(_r)?: [0-9]+ MiB<' "$picture")" -ge 8 ]
rect=$(grep -c 'gradient.*MiB</title>' "$picture")
check 'and blocks in it have their names' "$rect gradients" [ "$rect" -ge 3 ]
if command -v rsvg-convert >/dev/null; then
    scripts/plot --plan "$work/plan" >"$work/out" 2>&1
    check 'its PNG' "$(cat "$work/out")" [ "$(head -c 4 "$work/plan/plan.png" | tail -c 3)" = PNG ]
    rm -f "$work/plan/plan.png"
else
    echo 'skip compare: its PNG (no rsvg-convert)'
fi
refuses 'plot: no plan there' 'plan.svg' scripts/plot --plan "$work"
check 'nothing else is written' "$(ls "$work/plan")" [ "$(ls "$work/plan" | tr '\n' ' ')" = 'plan.svg plan.txt ' ]
refuses 'a picture for nobody' '--plan-beside' "$program" --plan --plan-beside lion

# ---- the tables ----

scripts/paper-table >"$work/table" 2>"$work/err"
check 'paper-table: ViT-B beside what was published' "$(cat "$work/err")" grep -qE '^vit-b/32 +88.22 +adamw +passes +1 .* 2007 +1629 +1.12 +18.81$' "$work/table"
check 'paper-table: misprints are marked' 'not' [ "$(grep -c misprint "$work/table")" -ge 2 ]
check 'paper-table: passes save a copy of N' "$(grep '^vit-h' "$work/table")" \
    [ "$(awk '$1 ~ /^vit-[blhg]/ && $4 == "passes" && $11 > 0.98 && $11 < 1.01' "$work/table" | wc -l)" -eq 12 ]
check 'paper-table: language models on one rank save as many copies as published' "$(grep ' 1 ' "$work/table")" \
    [ "$(awk '$1 ~ /^(bloom-560m|qwen)/ && $3 ~ /^ad/ && $4 == "passes" && $5 == 1 && $15 > 0 {
        n++; if ($11 - $15 > 0.07 || $15 - $11 > 0.07) n = 99 } END { print n }' "$work/table")" -eq 5 ]
check 'paper-table: no plan is 1 % above its bound' "$(cat "$work/table")" \
    [ "$(awk '$4 == "passes" || $4 == "fused" { n++; if ($6 > 1.01 * $7 || $8 > 1.01 * $9) n = 1000 } END { print n }' "$work/table")" -eq 193 ]
check 'paper-table: ZeRO leaves a rank less' "$(grep llama2-7b "$work/table")" \
    [ "$(awk '$4 == "passes" { if ($5 == 1) one[$1, $3] = $6; else { n++; bad += !($6 > 0 && $6 < one[$1, $3]) } } END { print n - 99 * bad }' "$work/table")" -eq 43 ]
check 'paper-table: every published row stands there' "$(cat "$work/table")" \
    [ "$(awk '$4 == "passes" && $13 > 0' "$work/table" | wc -l)" -eq "$(grep -vc '^#' scripts/paper-table.tsv)" ]
refuses 'paper-table: an unknown option' '--bach' scripts/paper-table --bach 2
refuses 'paper-table: a batch that is none' 'whole numbers' scripts/paper-table --batch 0
refuses 'paper-table: a run of what is no ViT' 'gpt2-124m' scripts/paper-table --run gpt2-124m
scripts/reuse-table "$work/reuse.md" 2>"$work/err"
status=$?
check 'the formula holds' "$(cat "$work/err")" [ $status -eq 0 ]
check 'docs/reuse.md is what the plans are' 'run scripts/reuse-table docs/reuse.md' cmp -s "$work/reuse.md" docs/reuse.md
exit $bad
