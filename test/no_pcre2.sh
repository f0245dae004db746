#!/usr/bin/env bash
# no_pcre2.sh - tokenize built without PCRE2: what needs no expression works, what does is refused in one
# line that says what to install.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$root" || exit 1
bad=0

report() { # NAME STATUS
    if [ "$2" -eq 0 ]; then echo "ok $1"; else echo "not ok $1"; bad=1; fi
}

sources=(tools/tokenize*.c infer/chat_tokens.c infer/find_tokenizer.c base/*.c data/chat/*.c)
for file in data/*.c data/bpe/*.c; do
    case $file in
    data/bpe/pattern_pcre2.c | data/bpe/nfc_utf8proc.c) ;;
    *) sources+=("$file") ;;
    esac
done
gcc -std=c17 -D_GNU_SOURCE -DREGRAD_VERSION="\"$(cat VERSION)\"" -I. -Wall -Wextra -Werror -fopenmp -O0 -ffunction-sections -Wl,--gc-sections "${sources[@]}" -lcjson -lz -lm -o "$work/tokenize" >"$work/log" 2>&1
report "it builds" $?
[ $bad = 0 ] || { cat "$work/log"; exit 1; }
grep -q pcre2 <<<"$(ldd "$work/tokenize")"
report "and links no PCRE2" $((!$?))

# refuses FILE: in one line with the package's name
refuses() {
    "$work/tokenize" --vocab "$1" -f 0 -o "$work/x" README.md >"$work/out" 2>"$work/err"
    [ $? -eq 1 ] && [ "$(wc -l <"$work/err")" -eq 1 ] && grep -q 'apt-get install libpcre2-dev' "$work/err" &&
        [ ! -e "$work/x_train.bin" ]
    report "refuses $(basename "$1")" $?
}
refuses test/golden/bpe_gpt2.json
cat >"$work/tokenizer.json" <<'JSON'
{"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, "decoder": {"type": "ByteLevel"},
 "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}
JSON
refuses "$work/tokenizer.json"

"$work/tokenize" --vocab bpe:300 -f 0 -o "$work/learned" README.md >"$work/out" 2>"$work/err" &&
    "$work/tokenize" -d -v "$work/learned.vocab" "$work/learned_train.bin" | cmp -s - README.md
report "learns and decodes" $?

exit $bad
