#!/usr/bin/env bash
# language.sh - pages, --help, messages and the comments of headers without the worst idioms of a translation.
#
# test/words.py has the list, with what to say instead.
set -u
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
bad=0

report() { # TITLE STATUS [WHY]
    if [ "$2" -eq 0 ]; then echo "ok language: $1"; else echo "not ok language: $1: ${3:-}"; bad=1; fi
}

[ -x build/release/predict ] || { echo 'not ok language: build/release is not built: run `make test`'; exit 1; }
found=$(python3 test/words.py build/release)
report 'no idiom of test/words.py' $? "$found"

# what the list should find is found, and what only looks like it is not
cat >"$work/bad.md" <<'END'
The option behind it is read.
It is computed anew.
The change is told.
Then the run goes on.
Samples are dealt to ranks.
No GPU is to be had.
The field is heard.
This does not go with that.
The block is made again.
Memory is handed out.
A GPU is at hand.
The file is there already.
That is not rendered here.
Give numbers with commas between.
Such a field is refused by name.
It is not a whole checkpoint.
That fits into no machine.
The oldest gives way.
A hidden file is passed over.
NULL is fine.
It is written wholly or not at all.
The memory is given back.
What the layer puts out.
An engine is made ready.
Each asks in vain.
It takes two at the most.
Has it an adapter?
It asks by way of rank 0.
Give another than the first.
It is lost without a word.
END
cat >"$work/good.md" <<'END'
The run continues after it. Nobody told me. Ideal. It must go without saying. Run make again.
`goes on behind` is code, and

    so is this, anew

```
and this is told
```

A span of `code may go
on behind` the end of a line.
END
sentences=$(wc -l <"$work/bad.md")
[ "$(python3 test/words.py "$work/bad.md" | cut -d'"' -f1 | sort -u | wc -l)" -eq "$sentences" ]
report "each of $sentences bad sentences is found" $? "$(python3 test/words.py "$work/bad.md" | tr '\n' ' ')"
python3 test/words.py "$work/good.md" >"$work/found"
report 'others are not' $? "$(cat "$work/found")"
exit $bad
