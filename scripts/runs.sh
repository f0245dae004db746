# shellcheck shell=bash disable=SC2034 # colours are for those who source this
# runs.sh - what scripts/compare and scripts/plot read of a run's directory; to be sourced.
#
#   log.jsonl      one object a line: run/log.h
#   options.json   "steps"
#
# All of it by awk: the files are ours, and so is their form.

colours=(4e79a7 e15759 59a14f f28e2b b07aa1 76b7b2 9c755f d4a6c8 edc948 ff9da7 1b5e20 303030)

# run_check RUN: says in one line why it cannot be read.
run_check() {
    if [ ! -d "$1" ]; then
        echo "$1 is not a directory: give a run's, which has log.jsonl"
    elif [ ! -r "$1/log.jsonl" ] || [ ! -f "$1/log.jsonl" ]; then
        echo "$1 has no log.jsonl that can be read: is it a run's directory (--out)?"
    elif ! grep -q '^{"step":[0-9]*,"loss":' "$1/log.jsonl"; then
        echo "$1/log.jsonl has no steps: wait for the first, or give another run"
    fi
}

# run_complete RUN STEPS: has it made its last step, and left its model?
run_complete() {
    [ -s "$1/model.safetensors" ] && [ -r "$1/log.jsonl" ] &&
        grep -q "^{\"step\":$2,\"resident_bytes\":" "$1/log.jsonl"
}

# run_steps RUN: how many it is to make.
run_steps() {
    sed -n 's/^[[:space:]]*"steps":[[:space:]]*\([0-9]*\).*/\1/p' "$1/options.json" 2>/dev/null | sed -n 1p
}

# run_series FIELD RUN: step and value, tab-separated, of every line that has the field as a number.
run_series() {
    awk -v field="\"$1\":" '
        (at = index($0, field)) && match($0, /"step":[0-9]+/) {
            step = substr($0, RSTART + 7, RLENGTH - 7)
            value = substr($0, at + length(field))
            if (value !~ /^null/) printf "%s\t%.9g\n", step, value
        }' "$2/log.jsonl"
}

# smooth: of (at most) 200 stretches of points their means.
smooth() {
    awk -F '\t' '{ x[NR] = $1; y[NR] = $2 }
        END {
            n = int((NR + 199) / 200)
            for (i = 1; i <= NR; i += n) {
                for (j = sum = sum_x = 0; j < n && i + j <= NR; j++) { sum += y[i + j]; sum_x += x[i + j] }
                printf "%.9g\t%.9g\n", sum_x / j, sum / j
            }
        }'
}

# run_facts RUN: one tab-separated line: last loss, last validation loss, planned, handed out and
# resident bytes; and medians over the steps: units/s, ms, forward, backward, optimizer.  "-": none.
run_facts() {
    awk '
        function number(field,    at) {
            at = index($0, "\"" field "\":")
            if (!at || substr($0, at + length(field) + 3, 4) == "null") return "-"
            return substr($0, at + length(field) + 3) + 0
        }
        # quickselect: the middle one of list[1..n]
        function median(list, n,    low, high, k, i, j, pivot, v) {
            if (!n) return "-"
            low = 1; high = n; k = int((n + 1) / 2)
            while (low < high) {
                pivot = list[int((low + high) / 2)]
                i = low; j = high
                while (i <= j) {
                    while (list[i] < pivot) i++
                    while (list[j] > pivot) j--
                    if (i <= j) { v = list[i]; list[i++] = list[j]; list[j--] = v }
                }
                if (k <= j) high = j
                else if (k >= i) low = i
                else break
            }
            return list[k]
        }
        function keep(list, n, field,    v) {
            v = number(field)
            if (v != "-") list[n + 1] = v
            return v != "-" ? n + 1 : n
        }
        BEGIN { loss = val = planned = high = resident = "-" }
        /"loss":/ {
            loss = number("loss"); planned = number("peak_bytes")
            if (match($0, /_per_s":[0-9.e+]+/)) rate[++rates] = substr($0, RSTART + 8, RLENGTH - 8) + 0
            n1 = keep(ms, n1, "ms"); n2 = keep(f, n2, "forward_ms")
            n3 = keep(b, n3, "backward_ms"); n4 = keep(o, n4, "optimizer_ms")
        }
        /"val_loss":/ { val = number("val_loss") }
        /"high_water_bytes":/ { high = number("high_water_bytes") }
        /"resident_bytes":/ { resident = number("resident_bytes") }
        END {
            OFS = "\t"; OFMT = CONVFMT = "%.9g"
            print loss, val, planned, high, resident, median(rate, rates), median(ms, n1), median(f, n2), median(b, n3), median(o, n4)
        }' "$1/log.jsonl"
}
