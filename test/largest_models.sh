#!/usr/bin/env bash
# largest_models.sh - docs/largest-models.md is what scripts/largest-model makes of today's plans: a row of its tables and one of the
# 7B on a card of 24 GiB, as the program plans them now.
set -u
cd "$(dirname "$0")/.." || exit 1
page=docs/largest-models.md
bad=0
if ! command -v python3 >/dev/null; then
    echo "skip largest models: this needs Python 3"
    exit 0
fi
report() { if [ "$2" -eq 0 ]; then echo "ok largest models: $1"; else echo "not ok largest models: $1: $3"; bad=1; fi; }
largest() { scripts/largest-model --program "$PWD/build/release/train_gpt" "$@" 2>&1 | tail -n 1; }

# section TITLE: the page's lines under it
section() { awk -v title="## $1" '/^## / { on = index($0, title) == 1 } on' "$page"; }

row=$(largest --model llama2-7b --memory 24 --only params)
section '7 billion' | grep -qxF "$row"
report 'llama2-7b on 24 GiB: the page says what is planned' $? "$row"
row=$(largest --memory 8,12,16,24,80 --only 'the same bits in less')
section 'One card alone' | grep -qxF "$row"
report 'a card alone: the page says what is planned' $? "$row"
row=$(largest --model llama2-7b --memory 24 --only params --host-rate 5)
[ "${row#| params | }" != "$row" ] && ! grep -qxF "$row" "$page"
report 'another bus, another speed' $? "$row"
row=$(largest --model llama2-7b --memory 24 --host-memory 64 --only params)
[[ $row = *'too much'* ]]
report 'too little memory of the host' $? "$row"
row=$(largest --memory 0)
[[ $row = *'argument --memory: 0: must be a number above 0' ]]
report 'what cannot be is said' $? "$row"
exit $bad
