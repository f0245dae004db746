#!/usr/bin/env bash
# get_data.sh - scripts/get-data against a server of its own on 127.0.0.1: a cut download goes on
# where it stopped, what is damaged is refused, and without a network one line says what to do.
set -u
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d) || exit 1
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
bad=0

check() { # TITLE STATUS
    if [ "$2" -eq 0 ]; then echo "ok $1"; else echo "not ok $1: $(head -c 300 "$work/err")"; bad=1; fi
}

get() { scripts/get-data -d "$work/d" "$@" >"$work/out" 2>"$work/err" </dev/null; }

# nothing but one line with WORDS, status 1
refused() { # STATUS WORDS
    [ "$1" -eq 1 ] && [ "$(wc -l <"$work/err")" -eq 1 ] && grep -qF -e "$2" "$work/err"
}

# A server that knows Range, and notes where each answer began.
mkdir "$work/www"
head -c 300000 /dev/zero | tr '\0' x >"$work/www/cifar-10-binary.tar.gz"
head -c 1115394 /dev/zero >"$work/www/input.txt" # the right size, the wrong bytes
cat >"$work/server.py" <<'PY'
import http.server, os, sys
class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            data = open('www' + self.path, 'rb').read()
        except OSError:
            return self.send_error(404)
        wanted = self.headers.get('Range')
        first = int(wanted[6:].split('-')[0]) if wanted else 0
        open('starts', 'a').write('%d\n' % first)
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header('Content-Range', 'bytes %d-%d/%d' % (first, len(data) - 1, len(data)))
        self.send_header('Content-Length', str(len(data) - first))
        self.end_headers()
        self.wfile.write(data[first:])
    def log_message(self, *arguments):
        pass
os.chdir(sys.argv[1])
server = http.server.HTTPServer(('127.0.0.1', 0), Server)
open('port.new', 'w').write(str(server.server_port))
os.rename('port.new', 'port')
server.serve_forever()
PY
if ! command -v python3 >/dev/null || ! command -v curl >/dev/null; then
    echo 'skip get-data python3 or curl is not here'
    exit 0
fi
python3 "$work/server.py" "$work" &
server=$!
for _ in {1..100}; do [ -s "$work/port" ] && break; sleep 0.1; done
export GET_DATA_FROM no_proxy=127.0.0.1
GET_DATA_FROM=http://127.0.0.1:$(cat "$work/port")
file=$work/d/cifar-10-binary.tar.gz

mkdir "$work/d"
head -c 1234 "$work/www/cifar-10-binary.tar.gz" >"$file.part"
get cifar10 && cmp -s "$file" "$work/www/cifar-10-binary.tar.gz" && [ "$(cat "$work/starts")" = 1234 ]
check 'a cut download goes on where it stopped' $?
get cifar10 && [ "$(wc -l <"$work/starts")" -eq 1 ]
check 'what is there is not downloaded again' $?
printf y | dd of="$file" conv=notrunc status=none
get cifar10; refused $? 'SHA-256'
check 'a file that changed since its first download is refused' $?
get tinyshakespeare; refused $? 'SHA-256'
check 'a wrong hash is refused' $?
[ ! -e "$work/d/input.txt" ]
check 'and the file does not get its name' $?
head -c 99 /dev/zero >"$work/www/input.txt"; rm -f "$work/d/input.txt.part"
get tinyshakespeare; refused $? 'not 1115394'
check 'a wrong size is refused' $?

for _ in {1..400}; do echo 'the cat sat on the mat'; done >"$work/www/TinyStoriesV2-GPT4-valid.txt"
if [ -x ./tokenize ]; then
    get --vocab bpe:260 -o "$work/t/x" tinystories-small && [ -s "$work/t/x_train.bin" ] &&
        [ "$(head -n 1 "$work/t/x.vocab")" = 'regrad-vocab 1 260' ] && grep -q 'no checksum' "$work/err"
    check 'text becomes tokens, and an unknown hash is said' $?
fi

if [ -x ./tokenize ]; then
    gzip -c "$work/www/TinyStoriesV2-GPT4-valid.txt" | head -c -6 >"$work/www/enwik8.zip" # it ends too early
    get --vocab bpe:260 -o "$work/t/y" enwik8; [ $? = 1 ] && grep -q 'enwik8.zip is damaged' "$work/err" && [ ! -e "$work/t/y_train.bin" ]
    check 'an archive that is damaged is refused' $?
fi

# a parquet file that ends in the middle: as pyarrow is not everywhere, by another reader of it
if [ -x ./tokenize ]; then
    printf '%s\n' '#!/bin/sh' 'yes "{\"text\": \"the cat sat\"}" | head -n 40' '[ -z "$FAIL" ] || { echo "half a file" >&2; exit 1; }' >"$work/reader"
    chmod +x "$work/reader" && touch "$work/x.parquet"
    PYTHON=$work/reader FAIL='' get --vocab bytes -o "$work/t/h" "$work/x.parquet" && [ -s "$work/t/h_train.bin" ]
    check 'rows become tokens' $?
    get --dry-run --field story -o p "$work/x.parquet" && grep -q "parquet_rows.py --field story $work/x.parquet | ./tokenize .* --jsonl story -o p -$" "$work/out"
    check '--dry-run says the command of a table' $?
    PYTHON=$work/reader FAIL=1 get --vocab bytes -o "$work/t/i" "$work/x.parquet"
    [ $? = 1 ] && grep -q '^half a file$' "$work/err" && [ ! -e "$work/t/i_train.bin" ] && [ ! -e "$work/t/i.vocab" ]
    check 'of a table that cannot be read to its end nothing is written' $?
fi

# parquet, where pyarrow is
python=${PYTHON:-python3}
if [ -x ./tokenize ] && "$python" -c 'import pyarrow' 2>/dev/null; then
    "$python" - "$work/www" <<'PY'
import json, os, sys
import pyarrow
from pyarrow import parquet
os.chdir(sys.argv[1])
texts = ['text %d of a table' % i for i in range(300)] + [None]
parquet.write_table(pyarrow.table({'n': list(range(301)), 'text': texts}), 'a.parquet')
parquet.write_table(pyarrow.table({'n': [1], 'text': ['the last']}), 'b.parquet')
parquet.write_table(pyarrow.table({'prompt': ['1+%d=' % i for i in range(50)], 'completion': ['%d' % (1 + i) for i in range(50)]}), 'c.parquet')
files = [{'config': 'default', 'split': split, 'url': 'https://elsewhere/x/' + name, 'size': os.path.getsize(name)}
         for split, name in (('train', 'a.parquet'), ('test', 'c.parquet'), ('train', 'b.parquet'))]
json.dump({'parquet_files': files}, open('parquet.json', 'w'))
PY
    get --vocab bytes -o "$work/t/p" "$work/www/a.parquet" &&
        [ "$(./tokenize --decode --vocab "$work/t/p.vocab" "$work/t/p_train.bin" "$work/t/p_val.bin" | grep -o 'of a table' | wc -l)" = 300 ]
    check 'a column of a parquet file becomes tokens' $?
    get --vocab bytes -o "$work/t/q" hf:someone/something &&
        ./tokenize --decode --vocab "$work/t/q.vocab" "$work/t/q_train.bin" "$work/t/q_val.bin" | grep -q 'the last'
    check 'the parquet files of a data set, all of a split' $?
    get --vocab "$work/t/p.vocab" --chat -o "$work/t/r" hf:someone/something:test && [ -s "$work/t/r_train.bin" ]
    check 'and conversations' $?
    get --vocab bytes -o "$work/t/s" hf:someone/something:none; refused $? 'no parquet files of the split none'
    check 'a split that is not there' $?
    get --vocab bytes --field nothing -o "$work/t/s" "$work/www/a.parquet"; [ $? = 1 ] && grep -q 'no column "nothing"; there are: n, text' "$work/err"
    check 'a column that is not there' $?
else
    echo 'skip get-data parquet: pyarrow is not here'
fi

GET_DATA_FROM=http://127.0.0.1:1
get tinystories; refused $? 'curl -fL -C -'
check 'without a network one line says what to do' $?
get --dry-run tinyshakespeare && grep -q '1115394 bytes' "$work/out" && grep -q 'tokenize --vocab bpe:2048' "$work/out"
check '--dry-run says size and command' $?
get --list && [ "$(wc -l <"$work/out")" -ge 10 ]
check '--list' $?
get nothing; refused $? '--list'
check 'an unknown name' $?
get --dry-run mnist cifar10; refused $? 'mnist and cifar10'
check 'two names' $?
exit $bad
