#!/usr/bin/env bash
# test_libregrad.sh - the library: nothing but regrad_* is to be seen, the example builds as its comment says,
# and what it and the Python module train has the losses of train_gpt to the last digit.
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
bad=0

report() { # TITLE STATUS [WHY]
    if [ "$2" -eq 0 ]; then echo "ok library: $1"; else echo "not ok library: $1: ${3:-}"; bad=1; fi
}

[ -x build/release/train_gpt ] || { echo "not ok library: build/release is not built: run \`make test\`"; exit 1; }
make -j2 "CUDA=$(cat build/release/device)" install PREFIX="$work/usr" >"$work/log" 2>&1
report 'make install' $? "$(tail -n 3 "$work/log")"
[ $bad = 0 ] || exit 1
prefix=$work/usr
others=$(nm -D --defined-only "$prefix/lib/libregrad.so" | awk '$3 !~ /^regrad_/ { print $3 }' | head -3)
[ -z "$others" ]
report 'libregrad.so shows regrad_* alone' $? "$others"
others=$(nm -g --defined-only "$prefix/lib/libregrad.a" | awk 'NF == 3 && $3 !~ /^regrad_/ { print $3 }' | head -3)
[ -z "$others" ]
report 'libregrad.a, too' $? "$others"

export PKG_CONFIG_PATH=$prefix/lib/pkgconfig LD_LIBRARY_PATH=$prefix/lib
# shellcheck disable=SC2046 # flags are words
cc -Wall -Wextra -Werror "$root/lib/example.c" $(pkg-config --cflags --libs regrad) -o "$work/example" 2>"$work/log"
report 'the example compiles' $? "$(head -3 "$work/log")"
# error.h of glibc, and C++
printf '#include <error.h>\n#include <regrad.h>\nint main() { return regrad_version() == 0; }\n' >"$work/x.cpp"
# shellcheck disable=SC2046
g++ -Wall -Wextra -Werror "$work/x.cpp" $(pkg-config --cflags --libs regrad) -o "$work/x" 2>"$work/log" && "$work/x"
report 'the header is C++, too, and goes with error.h' $? "$(head -3 "$work/log")"

cd "$work" || exit 1
awk 'BEGIN { for (i = 0; i < 20000; i++) printf "%d in the beginning was %d\n", i * i % 97, i * 7 % 1009 }' >text
"$prefix/bin/tokenize" --vocab bpe:1024 -o mine text >/dev/null 2>log || "$prefix/bin/tokenize" --vocab bpe:400 -o mine text >/dev/null
./example mine >out 2>err
report 'the example runs' $? "$(cat err)"
options=(--model gpt-nano --vocab 1024 --optim adamw_r --steps 50 --train-data mine_train.bin --eval-every 0)
"$prefix/bin/train_gpt" "${options[@]}" --out run >log 2>&1
want=$(sed -n 's/^{"step":50,"loss":\([^,]*\),.*/\1/p' run/log.jsonl)
[ -n "$want" ] && grep -q "step 50  loss $(printf %.4f "$want")" out
report 'with the losses of train_gpt' $? "$want; $(grep 'step 50' out)"
cmp -s run/model.safetensors example-out/model.safetensors
report 'and its bits' $?
[ "$(ls)" = "$(printf '%s\n' err example example-out log mine.vocab mine_train.bin mine_val.bin out run text usr x x.cpp)" ]
report 'it writes nothing else' $? "$(ls | tr '\n' ' ')"

python=${PYTHON:-/usr/bin/python3}
if command -v "$python" >/dev/null; then
    REGRAD_LIBRARY=$prefix/lib/libregrad.so "$python" "$root/python/test_regrad.py" mine "$want"
    [ $? -eq 0 ] || bad=1
else
    echo "skip library: Python $python is not there: apt-get install python3"
fi

make -C "$root" "CUDA=$(cat "$root/build/release/device")" uninstall PREFIX="$prefix" >log 2>&1
[ -z "$(find "$prefix" -type f -o -type l)" ]
report 'make uninstall' $? "$(find "$prefix" -type f | head -3)"
exit $bad
