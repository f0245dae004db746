#!/usr/bin/env bash
# messages.sh - what every program says to a mistake: which one it is, and what was probably meant.
#
#     test/messages.sh        (programs of build/release)
#
# One line, status 1, as in errors.sh; here are the mistakes of a hand and a memory: a dash too few, a
# model of the other kind, a file that is something else.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
programs=${PROGRAMS:-$root/build/release}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
bad=0
cd "$work" || exit 1

# says TITLE PATTERN PROGRAM OPTIONS...: one line that matches, status 1, before anything is waited for
says() {
    local title=$1 pattern=$2 status
    shift 2
    timeout 60 "$programs/$1" "${@:2}" >out 2>err </dev/null
    status=$?
    if [ $status = 1 ] && [ "$(wc -l <err)" = 1 ] && grep -qE "^$1: $pattern" err; then
        echo "ok $title"
    else
        echo "not ok $title: status $status: $(head -c 300 err | tr '\n' '~')"
        bad=1
    fi
}

# ---- the command line ----

for program in train_gpt train_vit; do
    says "$program: a dash too few" '-steps: one dash is missing: --steps$' $program -steps 3
    says "$program: a wrong letter" '--optin: no such option; the nearest is --optim ' $program --optin adamw
    says "$program: no value" '--steps needs a value: --steps N ' $program --steps
    says "$program: an option for a value" '--out needs a value, but the next word is --steps' $program --out --steps 3
done
says 'tokenize: a dash too few' '-vocab: one dash is missing: --vocab$' tokenize -vocab bytes -o x README
says 'tokenize: a wrong letter' '--vocap: no such option; the nearest is --vocab ' tokenize --vocap x
says 'tokenize: no value' '--output needs a value: --output PREFIX ' tokenize -o
says 'generate: a wrong letter' '--promt: no such option; the nearest is --prompt ' generate --promt x
says 'generate: no value' '--tokens needs a value: --tokens N ' generate --tokens
says 'export: a dash too few' '-type: one dash is missing: --type$' export -type f16 a b
says 'export: no value' '--to needs a value: --to FORMAT ' export --to
says 'predict: a wrong letter' '--lod: no such option; the nearest is --load ' predict --lod x
says 'predict: no value' '--load needs a value' predict --load
says 'a flag with a value' '--plan takes no value' train_gpt --plan=yes
says 'an empty directory' '--out: an empty word; give DIR$' train_gpt --out ''
says 'gpt2' '--model gpt2: unknown model; the nearest is gpt2-124m ' train_gpt --model gpt2 --plan

# ---- files ----

"$programs/tokenize" --vocab bpe:300 -o d "$root"/README.md >/dev/null || { echo 'not ok data'; exit 1; }
head -c 300 "$root/README.md" >few.txt
says 'bpe: too many tokens' 'bpe:9999: .* use --vocab bpe:[0-9]+ or less' tokenize --vocab bpe:9999 --val-fraction 0 -o e few.txt
most=$(sed -nE 's/.*use --vocab (bpe:[0-9]+) or less.*/\1/p' err)
if "$programs/tokenize" --vocab "${most:-none}" --val-fraction 0 -o e few.txt >out 2>err; then echo "ok bpe: the size advised ($most) works"; else echo "not ok bpe: $most: $(cat err)"; bad=1; fi

gpt=(--layers 1 --heads 2 --width 16 --context 16 --vocab 300 --batch 2 --threads 1 --device cpu --train-data d_train.bin --eval-every 0)
vit=(--model vit-nano/4 --layers 1 --batch 2 --threads 1 --device cpu --train-data x-images-idx3-ubyte --eval-every 0)
byte() { printf '%b' "\\0$(printf %o "$1")"; }
be32() { byte $(($1 >> 24 & 255)); byte $(($1 >> 16 & 255)); byte $(($1 >> 8 & 255)); byte $(($1 & 255)); }
{ be32 $((0x803)); be32 20; be32 28; be32 28; head -c $((20 * 784)) "$programs/train_gpt"; } >x-images-idx3-ubyte
{ be32 $((0x801)); be32 20; for ((i = 0; i < 20; i++)); do byte $((i % 10)); done; } >x-labels-idx1-ubyte
"$programs/train_gpt" "${gpt[@]}" --steps 2 --checkpoint-every 2 --out g >/dev/null &&
    "$programs/export" --to llmc g g.bin >/dev/null &&
    "$programs/train_vit" "${vit[@]}" --steps 2 --checkpoint-every 2 --out v >/dev/null || { echo 'not ok runs'; exit 1; }

images='v/config.json is of a model of images \(timm.s vit_.*\): train_vit and predict take it'
says "a ViT's run: train_gpt" "$images" train_gpt --load v --train-data d_train.bin --out q
says "a ViT's run: generate" "$images" generate --load v --vocab d.vocab --prompt a
says "a ViT's run: export" "$images" export --to llmc v q
says "a ViT's checkpoint: generate" '.*this is a checkpoint of train_vit$' generate --load v/step_00000002 --vocab d.vocab --prompt a
says "a ViT's checkpoint: train_gpt" 'cannot resume from .*: program was "train_vit" and is "train_gpt" now' train_gpt "${gpt[@]}" --steps 4 --resume v/step_00000002 --out q
text='g/config.json is of a model of text \(gpt2\): train_gpt, generate and export take it'
says "a GPT's run: train_vit" "$text" train_vit "${vit[@]}" --load g --out q
says "a GPT's run: predict" "$text" predict --load g x-images-idx3-ubyte
says "a GPT's checkpoint: train_vit" 'cannot resume from .*: program was "train_gpt" and is "train_vit" now' train_vit "${vit[@]}" --steps 4 --resume g/step_00000002 --out q
says "llm.c's: train_vit" "g.bin is a GPT of llm.c's: train_gpt takes it" train_vit "${vit[@]}" --load g.bin --out q
{ be32 1; tail -c +5 g.bin; } >damaged.bin
for program in 'generate --vocab d.vocab --prompt a --load damaged.bin' 'export damaged.bin q' 'train_gpt --train-data d_train.bin --out q --load damaged.bin'; do
    # shellcheck disable=SC2086 # words
    says "llm.c's, its head damaged: ${program%% *}" "damaged.bin is not a model: it begins neither as llm.c's do \(20240326\) nor as safetensors" $program
done
head -c 9224 "$programs/train_gpt" >cifar.bin
says 'CIFAR of a wrong size' ".cifar.bin. \(9224 bytes\) is not a known image file.* multiple of 3073 or 3074 bytes" train_vit --channels 3 --image-size 32 --patch 4 --device cpu --threads 1 --train-data cifar.bin --out q
"$programs/tokenize" --vocab bpe:280 -o e "$root/README.md" >/dev/null
says 'a smaller --vocab than the model has' 'e.vocab has 280 tokens, the model.s own tokenizer g/tokenizer.vocab has 300' generate --load g --vocab e.vocab --prompt a
"$programs/tokenize" --vocab bpe:310 -o e "$root/README.md" >/dev/null
says 'a larger --vocab than the model has' 'e.vocab has 310 tokens, the model in g only 300' generate --load g --vocab e.vocab --prompt a

# ---- names with control characters ----

odd=$'a\e[31mb\n\tc'
says 'a name with control characters' 'a.x1b\[31mb.x0a.x09c cannot be read' generate --load "$odd" --vocab d.vocab --prompt a
mkdir -p "p/$odd" p/z
cp "$root"/README.md "p/$odd/$odd.txt"
says 'a class with them' ".*x1b\[31mb.x0a" train_vit --model vit-nano/4 --device cpu --threads 1 --train-data p --out q
if LC_ALL=C grep -q $'\e' out err; then echo 'not ok control characters: one is printed as it is'; bad=1; else echo 'ok no control character is printed'; fi

# ---- what is no file ----

mkfifo pipe
for there in pipe /dev/zero; do
    says "$there: --load" "$there is not a regular file" generate --load $there --vocab d.vocab --prompt a
    says "$there: --load, ViT" "$there is not a regular file" train_vit "${vit[@]}" --load $there --out q
    says "$there: --vocab" ".*$there is not a regular file" generate --load g --vocab $there --prompt a
    says "$there: --train-data" ".*$there is not a regular file" train_gpt "${gpt[@]}" --train-data $there --out q
    says "$there: --train-data raw16:" ".*$there is not a regular file" train_gpt "${gpt[@]}" --train-data raw16:$there --out q
    says "$there: --config" "--config: $there is not a regular file" train_gpt "${gpt[@]}" --config $there --out q
    says "$there: --template" "$there is not a regular file" generate --load g --chat --prompt a --template $there
    says "$there: images" ".*$there.? is (not a regular file|neither a file nor a directory)" train_vit --device cpu --threads 1 --train-data $there --out q
    says "$there: --decode" ".*$there is not a regular file" tokenize --decode --vocab d.vocab $there
    says "$there: --model" "$there.json is not a regular file|.*unknown model" train_gpt --model $there --plan
done
says 'a device as text' '/dev/zero is a device' tokenize --vocab bytes -o q /dev/zero
for option in --eval --prompts --choices; do
    says "a device as text: $option" '.*/dev/zero is a device' generate --load g $option /dev/zero
done
mkdir adapters && cp g/model.safetensors adapters/adapter_model.safetensors && mkfifo adapters/adapter_config.json
says 'a pipe among adapters' 'adapters/adapter_config.json is not a regular file' generate --load g --adapter adapters --prompt a
rm -rf g/step_00000002/state.json && mkfifo g/step_00000002/state.json
says 'a pipe in a checkpoint' '.*state.json is not a regular file' train_gpt "${gpt[@]}" --steps 4 --resume g/step_00000002 --out q
exit $bad
