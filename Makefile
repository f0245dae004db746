# Regrad
#
#   make            the programs: train_gpt, tokenize, generate, export
#   make demo       dependencies, build, data, two training runs, a picture  (runs/demo/)
#   make test       dependencies, build, all tests                           (under 20 minutes on 2 cores)
#   make test-long  the same with every combination
#   make test-gpu   the tests of the CUDA device, on the GPU that is here
#   make bench      speed and memory against PyTorch and the machine's limit
#   make deps       install what the build needs (Debian packages)
#
# BUILD names the directory of objects; SAN=1 builds with AddressSanitizer and UBSan, ARCH picks the
# CPU that the code is for (native; x86-64-v3 runs on any machine since 2013).
#
# CUDA is what --device cuda is: `nvcc` (a GPU) where nvcc is found, `none` elsewhere or if asked for;
# SAN=1 has `sim`, an emulator of CUDA on the CPU (test/cudasim/).  GPU_ARCH is the target, e.g. 90;
# by default the GPU that is here, else 80 90 100 120, and PTX for what comes after.

ifeq ($(origin CC),default)
CC      := gcc
endif
V       ?=
Q       := $(if $(V),,@)
ARCH    ?= native
SAN     ?=
BUILD   ?= build/$(if $(SAN),san,release)
TEXT    ?=

WARN    := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Werror
FLAGS   := -std=c17 -D_GNU_SOURCE -I. -g -fopenmp -march=$(ARCH) -fno-math-errno -fno-trapping-math $(WARN)
OPT     := -O3
ifneq ($(SAN),)
FLAGS   += -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -DREGRAD_DEBUG
OPT     := -O1
endif
LIBS    := -lopenblas -lcjson -lm

NVCC      ?= $(shell command -v nvcc)
CUDA      ?= $(if $(SAN),$(if $(filter x86_64,$(shell uname -m)),sim,none),$(if $(NVCC),nvcc,none))
CUDA_HOME ?= $(patsubst %/bin/nvcc,%,$(realpath $(NVCC)))

# optimizer arithmetic is the same everywhere: no fused multiply-add
$(BUILD)/cpu/optim.o: FLAGS += -ffp-contract=off
$(BUILD)/cuda/optim.cu.o $(BUILD)/cuda/loss.cu.o: NVFLAGS += --fmad=false

# PCRE2 cuts text for .tiktoken and tokenizer.json; PCRE2=no builds without it
PCRE2   ?= $(shell echo 'int main(void) { return pcre2_config(PCRE2_CONFIG_JIT, 0); }' | \
             $(CC) -DPCRE2_CODE_UNIT_WIDTH=8 -include pcre2.h -x c - -lpcre2-8 -o /dev/null \
             2>/dev/null && echo yes || echo no)
PCRE2   := $(PCRE2)
ifeq ($(PCRE2),yes)
LIBS    += -lpcre2-8
endif

LIB_SRC  := $(wildcard core/*.c cpu/*.c optim/*.c data/*.c io/*.c train/*.c model/block.c model/presets.c model/hf.c)
LIB_SRC  := $(filter-out data/pattern_$(if $(filter yes,$(PCRE2)),none,pcre2).c,$(LIB_SRC))
GPT_SRC  := model/gpt.c
LIB      := $(LIB_SRC:%.c=$(BUILD)/%.o)
GPT      := $(GPT_SRC:%.c=$(BUILD)/%.o)
PROGRAMS := train_gpt tokenize generate export

include cuda/build.mk
LIB += $(DEVICES)

.PHONY: all demo demo-data test test-long bench deps deps-test deps-demo deps-bench clean format
.SECONDARY:
all: $(PROGRAMS:%=$(BUILD)/%)
	@for p in $(PROGRAMS); do ln -sf $(BUILD)/$$p $$p; done
	@echo "  PCRE2 (for .tiktoken and tokenizer.json): $(if $(filter yes,$(PCRE2)),found,none; apt-get install libpcre2-dev)"

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  cc  $<")
	$(Q)$(CC) $(FLAGS) $(OPT) -MMD -MP -c $< -o $@

$(BUILD)/train_gpt: $(BUILD)/train.o $(GPT) $(LIB)
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) $^ $(LIBS) -o $@

$(BUILD)/tokenize: $(BUILD)/tools/tokenize.o $(GPT) $(LIB)
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) $^ $(LIBS) -o $@

$(BUILD)/generate: $(BUILD)/tools/generate.o $(GPT) $(LIB)
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) $^ $(LIBS) -o $@

$(BUILD)/export: $(BUILD)/tools/export.o $(GPT) $(LIB)
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) $^ $(LIBS) -o $@

$(BUILD)/bench: $(BUILD)/tools/bench.o $(GPT) $(LIB)
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) $^ $(LIBS) -o $@

# ---- tests ----

TEST_HELP := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(wildcard test/test_*.c test/rig_*.c),$(wildcard test/*.c)))
TESTS     := $(patsubst test/%.c,$(BUILD)/%,$(wildcard test/test_*.c))

$(BUILD)/test_%: $(BUILD)/test/test_%.o $(TEST_HELP) $(BUILD)/test/rig_cpu.o $(GPT) $(LIB)
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) $^ $(LIBS) -lcmocka -o $@

# the tests of the operations again, on CUDA
CUDA_TESTS := $(patsubst test/test_%.c,$(BUILD)/cuda_%,$(filter-out test/test_ops_ref.c,$(wildcard test/test_ops_*.c)))
$(BUILD)/cuda_%: $(BUILD)/test/test_%.o $(TEST_HELP) $(BUILD)/test/rig_cuda.o $(GPT) $(LIB)
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) $^ $(LIBS) -lcmocka -o $@
ifeq ($(CUDA),sim)
TESTS += $(CUDA_TESTS)
endif

# every allocation of this program is seen; a sanitizer has its own allocator, so not there
WRAPPED := malloc calloc realloc aligned_alloc
$(BUILD)/test_memory: LIBS += $(WRAPPED:%=-Wl,--wrap=%)
ifneq ($(SAN),)
TESTS := $(filter-out %/test_memory,$(TESTS))
endif

tests: all $(TESTS)
.PHONY: tests

test: deps-test
	@$(MAKE) --no-print-directory -j2 tests
	@$(MAKE) --no-print-directory -j2 tests SAN=1
	@scripts/run-tests

# on a GPU: the operations, the optimizer's bits, training
GPU_TESTS := $(CUDA_TESTS) $(BUILD)/test_cuda
test-gpu: deps-test
	@$(MAKE) --no-print-directory -j2 CUDA=nvcc gpu-tests
	@scripts/run-tests $(GPU_TESTS)
gpu-tests: $(GPU_TESTS)
.PHONY: test-gpu gpu-tests

test-long: deps-test
	@$(MAKE) --no-print-directory -j2 tests
	@$(MAKE) --no-print-directory -j2 tests SAN=1
	@LONG=1 scripts/run-tests

# ---- demo, bench ----

demo-data: deps-demo
	@$(MAKE) --no-print-directory -j2 all
	@scripts/demo-data $(TEXT)

demo: demo-data
	@scripts/demo

bench: deps-bench
	@$(MAKE) --no-print-directory -j2 all $(BUILD)/bench
	@scripts/bench

deps:
	@scripts/deps build
deps-test deps-demo deps-bench: deps-%:
	@scripts/deps $*

format:
	clang-format -i $$(git ls-files '*.c' '*.h' '*.cu' '*.cpp')

clean:
	rm -rf build $(PROGRAMS)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
