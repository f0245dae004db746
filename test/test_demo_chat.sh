#!/usr/bin/env bash
# test_demo_chat.sh - scripts/demo-chat in small: so few steps that little is right, but every command runs, what is
# exported says the same, and too few right answers are a failure.
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
bad=0

report() { # TITLE STATUS
    if [ "$2" -eq 0 ]; then echo "ok demo-chat: $1"; else echo "not ok demo-chat: $1: $(tail -n 3 "$work/log")"; bad=1; fi
}

[ -x build/release/train_gpt ] || { echo "not ok demo-chat: build/release is not built: run \`make test\`"; exit 1; }
mkdir "$work/at" && cp -r scripts "$work/at" && mkdir "$work/at/test" && cp test/gguf_reference.py "$work/at/test"
for program in tokenize generate export train_gpt; do ln -s "$root/build/release/$program" "$work/at"; done
cd "$work/at" || exit 1
export PYTHON=${PYTHON:-/usr/bin/python3} THREADS=1
STEPS=20 LEAST=0 scripts/demo-chat >"$work/log" 2>&1
report "all of it, in small" $?
[ "$(grep -c ', read here: the same answers$' "$work/log")" -eq 2 ] && [ "$(grep -c "every number in GGUF .* the same$" "$work/log")" -eq 2 ]
report "what is exported is the same, twice" $?
[ "$(grep -c 'of 60 held-out questions right' "$work/log")" -eq 3 ]
report "three models are asked 60 questions" $?
sed -n 's/.*"prompt":"[^0-9]*\([0-9]\)[^0-9]*\([0-9]\).*/\1 \2/p' runs/demo-chat/asked.jsonl | sort -u >"$work/asked"
[ "$(wc -l <"$work/asked")" -eq 20 ] && [ -z "$(comm -12 "$work/asked" <(sed -n 's/.*"user","content":"[^0-9]*\([0-9]\)[^0-9]*\([0-9]\).*/\1 \2/p' runs/demo-chat/chat.jsonl | sort -u))" ]
report "no conversation has a sum that is asked for" $?
STEPS=5 LEAST=100 scripts/demo-chat >"$work/log" 2>&1
[ $? -eq 1 ] && grep -q '^demo-chat: less than 100 % are right$' "$work/log"
report "too little right is a failure" $?
exit $bad
