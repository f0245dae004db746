#!/usr/bin/env bash
# run.sh - tokenizers, models and chat templates against the real libraries, in a virtual environment under build/ (make test-peers).
# Where they cannot be installed all is skipped, which in CI is a failure.
set -u
cd "$(dirname "$0")/../.." || exit 1
venv=build/peers
status=0

packages='tokenizers==0.23.3 transformers==5.24.0 safetensors==0.8.0 tiktoken==0.14.0 sentencepiece==0.2.3
          mistral-common==1.13.1 dashscope==2.0.2 llama-models==0.3.0 torch==2.15.0
          jinja2==3.1.6 tensorboard==2.21.0 scikit-build-core==1.0.3'

# have PACKAGE==VERSION...: is each of them there?
have() {
    [ -x $venv/bin/python ] && $venv/bin/python - "$@" 2>/dev/null <<'END'
import sys
from importlib.metadata import version

sys.exit(any(version(p.split("==")[0]).split("+")[0] != p.split("==")[1] for p in sys.argv[1:]))
END
}

# shellcheck disable=SC2086 # words
if ! have $packages; then
    python3 -m venv $venv && $venv/bin/pip -q install $packages ||
        { echo "skip peers these Python packages cannot be installed: ${packages//$'\n'/ }"; exit $([ -n "${CI:-}" ] && echo 1 || echo $status); }
fi
n=${PEER_TEXTS:-10000}
for test in against_tokenizers against_programs patterns models; do
    $venv/bin/python test/peers/$test.py "$n" || status=1
done
$venv/bin/python test/peers/board.py "${BUILD:-build/release}"/{train_gpt,tokenize} || status=1
$venv/bin/python test/peers/npy.py "${BUILD:-build/release}"/train_gpt || status=1
$venv/bin/python test/peers/handed_on.py || status=1
$venv/bin/python test/transformers_reference.py "${BUILD:-build/release}" || status=1

# llama.cpp, in an environment of its own: a package of 100 MB
llama=$venv/llama
$llama/bin/python -c 'import xllamacpp' 2>/dev/null ||
    { python3 -m venv $llama && $llama/bin/pip -q install xllamacpp==2026.10.11549; }
if $llama/bin/python -c 'import xllamacpp' 2>/dev/null; then
    $llama/bin/python test/peers/perplexity.py 2>/dev/null || status=1
else
    echo "skip peers xllamacpp 2026.10.11549 cannot be installed"
    [ -z "${CI:-}" ] || status=1
fi

# chat templates of published models, which the source of a package has a folder of
templates=$venv/templates
if [ ! -d $templates ]; then
    mkdir -p $templates.new && $venv/bin/pip -q download --no-deps --no-build-isolation --no-binary :all: \
        -d $templates.new llama-cpp-python==0.3.16 &&
        tar -xzf $templates.new/*.tar.gz -C $templates.new --wildcards '*/models/templates/*.jinja' &&
        rm $templates.new/*.tar.gz && mv $templates.new $templates ||
        { echo "skip peers the source of llama-cpp-python 0.3.16 cannot be downloaded"; exit $([ -n "${CI:-}" ] && echo 1 || echo $status); }
fi
$venv/bin/python test/peers/templates.py "${BUILD:-build/release}/peer_templates" $templates || status=1
exit $status
