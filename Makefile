# Regrad
#
#   make            the programs: train_gpt, train_vit, tokenize, generate, export, predict
#   make demo       dependencies, build, data, two training runs, a picture  (runs/demo/)
#   make demo-chat  a small model learns to answer questions: full and LoRA, exported (runs/demo-chat/)
#   make demo-vit   a ViT on Fashion-MNIST, its curves and a contact sheet (runs/demo-vit/)
#   make test       dependencies, build, all tests                           (under 20 minutes on 2 cores)
#   make test-long  the same with every combination
#   make test-gpu   the tests of the CUDA device, on the GPU that is here
#   make test-peers tokenizers and models against PyPI's libraries, both ways
#   make fuzz       fuzz targets, FUZZ_SECONDS=60 each
#   make bench      speed and memory against PyTorch and the machine's limit
#   make bench-gpu  the same on the GPU that is here
#   make ptxas      docs/ptxas.md: what the kernels take of a GPU, of the build that is there
#   make deps       install what the build needs (Debian packages)
#   make docs       docs/cli.md from the programs' options, docs/plan.svg from a plan
#   make library    libregrad.so and libregrad.a (lib/regrad.h)
#   make install    programs, library, man pages and shell completion, under PREFIX=/usr/local in DESTDIR=; uninstall
#   make dist       regrad-VERSION.tar.gz
#
# BUILD names the directory of objects; SAN=1 builds with AddressSanitizer and UBSan.  What computes
# (cpu/) is compiled for several kinds of processor, and a program takes the best of them where it runs
# (cpu/kernel.h); ARCH is the CPU that all else is for: by default any x86-64, or any aarch64.
#
# CUDA is what --device cuda is: `nvcc` (a GPU) where nvcc is found, `none` elsewhere or if asked for;
# SAN=1 has `sim`, an emulator of CUDA on the CPU (test/cudasim/).  GPU_ARCH is the target, e.g. 90;
# by default the GPU that is here, else 80, and PTX for what comes after; GPU_ARCH=all is 80 90 100 120.
# `make demo` compiles no CUDA code where there is no GPU.

.DEFAULT_GOAL := all

ifeq ($(origin CC),default)
CC      := gcc
endif
V       ?=
Q       := $(if $(V),,@)
SAN     ?=
MACHINE := $(shell $(CC) -dumpmachine 2>/dev/null)
X86     := $(filter x86_64-%,$(MACHINE))
ARM64   := $(filter aarch64-%,$(MACHINE))
ARCH    ?= $(if $(SAN),native,$(if $(X86),x86-64,$(if $(ARM64),armv8-a,native)))
BUILD   ?= build/$(if $(SAN),san,release)
# test/fuzz.sh has targets of its own, which are compiled sooner
FUZZ_BUILD ?= build/fuzz
FUZZ_OPT   ?= -O1
TEXT    ?=

WARN    := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Werror
# lines and functions, which is what reports of sanitizers and backtraces name; for a debugger, DEBUG_INFO=-g
DEBUG_INFO ?= -g1
FLAGS   := -std=c17 -D_GNU_SOURCE -I. $(DEBUG_INFO) -fopenmp -march=$(ARCH) -fno-math-errno -fno-trapping-math $(WARN)
OPT     := -O3
ifneq ($(SAN),)
FLAGS   += -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -DREGRAD_DEBUG
OPT     := -O1
# what the tests test is a shared library here (TESTED)
FLAGS   += -fPIC -fno-semantic-interposition
else
# the same objects make the programs and the library (make library)
FLAGS   += -fPIC -fvisibility=hidden
endif
LIBS    := -lcjson -lz -lm -lpthread -ldl
# there are more than two hundred tests: a fast linker, where there is one
FAST_LD := $(firstword $(foreach linker,lld gold,$(if $(shell command -v ld.$(linker)),-fuse-ld=$(linker))))
LIBS    += $(if $(SAN),$(FAST_LD))

NVCC      ?= $(shell command -v nvcc)
CUDA      ?= $(if $(SAN),$(if $(X86),sim,none),$(if $(NVCC),nvcc,none))
CUDA_HOME ?= $(patsubst %/bin/nvcc,%,$(realpath $(NVCC)))

# optimizer arithmetic is the same everywhere: no fused multiply-add
$(BUILD)/test/test_ops_optim.o $(BUILD)/test/test_stored_numbers.o: FLAGS += -ffp-contract=off
$(BUILD)/cuda/optim.cu.o $(BUILD)/cuda/optim_stored.cu.o $(BUILD)/cuda/sum.cu.o: NVFLAGS += --fmad=false

# PCRE2 cuts text for .tiktoken and tokenizer.json; PCRE2=no builds without it
PCRE2   ?= $(shell echo 'int main(void) { return pcre2_config(PCRE2_CONFIG_JIT, 0); }' | \
             $(CC) -DPCRE2_CODE_UNIT_WIDTH=8 -include pcre2.h -x c - -lpcre2-8 -o /dev/null \
             2>/dev/null && echo yes || echo no)
PCRE2   := $(PCRE2)
ifeq ($(PCRE2),yes)
LIBS    += -lpcre2-8
endif

has      = $(shell echo 'int main(void) { return $(1); }' | \
             $(CC) -include stdio.h -include $(2) -x c - $(3) -o /dev/null 2>/dev/null && echo yes || echo no)

# utf8proc composes text (NFC) for the tokenizers that ask for it; UTF8PROC=no builds without it
UTF8PROC ?= $(call has,utf8proc_version()[0],utf8proc.h,-lutf8proc)
UTF8PROC := $(UTF8PROC)
ifeq ($(UTF8PROC),yes)
LIBS    += -lutf8proc
endif

# libjpeg(-turbo), libpng and libwebp read directories of images; JPEG=no, PNG=no, WEBP=no build without
JPEG    ?= $(call has,jpeg_std_error(0) == 0,jpeglib.h,-ljpeg)
PNG     ?= $(call has,png_access_version_number() == 0,png.h,-lpng)
WEBP    ?= $(call has,WebPGetDemuxVersion() == 0,webp/demux.h,-lwebpdemux -lwebp)
JPEG    := $(JPEG)
PNG     := $(PNG)
WEBP    := $(WEBP)
ifeq ($(JPEG),yes)
LIBS    += -ljpeg
$(BUILD)/data/images/picture_jpeg.o $(BUILD)/test/test_image_files.o $(BUILD)/test/test_pictures.o: FLAGS += -DWITH_JPEG
endif
ifeq ($(PNG),yes)
LIBS    += -lpng
$(BUILD)/data/images/picture_png.o $(BUILD)/test/test_image_files.o $(BUILD)/test/test_pictures.o: FLAGS += -DWITH_PNG
endif
ifeq ($(WEBP),yes)
LIBS    += -lwebpdemux -lwebp
$(BUILD)/data/images/picture_webp.o $(BUILD)/test/test_pictures.o: FLAGS += -DWITH_WEBP
endif

# libzstd unpacks .zst texts; ZSTD=no builds without
ZSTD    ?= $(call has,ZSTD_versionNumber() == 0,zstd.h,-lzstd)
ZSTD    := $(ZSTD)
ifeq ($(ZSTD),yes)
LIBS    += -lzstd
$(BUILD)/base/unpack.o: FLAGS += -DWITH_ZSTD
$(FUZZ_BUILD)/base/unpack.o $(FUZZ_BUILD)/fuzz/fuzz_unpack.o: FUZZ_FLAGS += -DWITH_ZSTD
endif

# MPI carries the ranks of --zero on the CPU, and starts them; MPI=no builds without
MPI_C   := $(shell pkg-config --cflags ompi-c 2>/dev/null)
MPI_L   := $(or $(shell pkg-config --libs ompi-c 2>/dev/null),-lmpi)
MPI     ?= $(call has,MPI_VERSION < 3,mpi.h $(MPI_C),$(MPI_L))
MPI     := $(MPI)
ifeq ($(MPI),yes)
LIBS    += $(MPI_L)
$(BUILD)/ranks/mpi.o: FLAGS += $(patsubst -I%,-isystem %,$(MPI_C))
endif

# the rooms, from what knows least to what knows most (test/layers.sh); tools/ and test/ are above
ROOMS    := base core ranks params cpu optim data/bpe data/chat data/images data model/hf model io infer train run plan
LIB_SRC  := $(foreach room,$(ROOMS),$(wildcard $(room)/*.c))
LIB_SRC  := $(filter-out train/task_of_% ranks/mpi$(if $(filter yes,$(MPI)),_none).c data/bpe/pattern_$(if $(filter yes,$(PCRE2)),none,pcre2).c data/bpe/nfc_$(if $(filter yes,$(UTF8PROC)),none,utf8proc).c,$(LIB_SRC))
# what computes on the CPU, once for each kind of processor
CPU_ONCE    := cpu/cpu_device.c cpu/pool.c cpu/blas.c
CPU_SRC     := $(filter-out $(CPU_ONCE) cpu/micro_amx.c,$(filter cpu/%,$(LIB_SRC)))
# with sanitizers, whose code is for the tests here, without what this processor cannot run: it was a tenth of the time
AVX512      := $(if $(SAN),$(findstring __AVX512VL__,$(shell $(CC) -march=$(ARCH) -dM -E -x c /dev/null)),yes)
CPU_KERNELS := plain $(if $(X86),avx2 $(if $(AVX512),avx512)) $(if $(ARM64),neon)
CPU_FLAGS_plain  := $(if $(X86),-march=x86-64) $(if $(ARM64),-DPLAIN_LANES)
# GCC would load all of a tile's numbers of a before it multiplies, and sums would leave the registers
CPU_FLAGS_neon   := -fno-schedule-insns $(NEON_OPT)
CPU_FLAGS_avx2   := -march=x86-64-v3
CPU_FLAGS_avx512 := -march=x86-64-v4 -mprefer-vector-width=512
LIB_SRC     := $(filter-out $(CPU_SRC) cpu/micro_amx.c,$(LIB_SRC))
GPT_SRC  := train/task_of_train_gpt.c
LIB      := $(LIB_SRC:%.c=$(BUILD)/%.o) $(CPU_KERNELS:%=$(BUILD)/cpu/%.o)
GPT      := $(GPT_SRC:%.c=$(BUILD)/%.o)
PROGRAMS := train_gpt train_vit tokenize generate export predict

include cuda/build.mk
LIB += $(DEVICES) $(BUILD)/device

# what objects are made by, and which form of the CUDA device programs are linked with; when it is
# another, they are rebuilt.  (Linking alone is cheap: `make demo` leaves a build for GPUs as it is.)
MADE_BY := $(strip $(CC) $(FLAGS) $(OPT) $(SIM_CXX) $(SIM_CU) $(JPEG) $(PNG) $(WEBP) $(ZSTD) $(foreach kernel,$(CPU_KERNELS),$(CPU_FLAGS_$(kernel))))
ifneq ($(MADE_BY),$(file <$(BUILD)/flags))
.PHONY: $(BUILD)/flags
endif
$(BUILD)/flags:
	@mkdir -p $(@D) && echo '$(MADE_BY)' >$@
ifneq ($(CUDA),$(file <$(BUILD)/device))
.PHONY: $(BUILD)/device
endif
$(BUILD)/device:
	@mkdir -p $(@D) && echo '$(CUDA)' >$@

.PHONY: all demo demo-vit demo-chat demo-data test test-long bench deps deps-build deps-test deps-demo deps-demo-vit deps-bench clean format
.SECONDARY:
# an optional library that is missing, and what that disables: one line
left_out = $(if $(filter yes,$(1)),,@echo "  left out: $(2) (to have it: make deps, or apt-get install $(3); then make)")
# what people run carries no debug information (it is four fifths of a program); STRIP= keeps it
STRIP   ?= $(if $(SAN),,-Wl,--strip-debug)
$(PROGRAMS:%=$(BUILD)/%) $(BUILD)/test_% $(BUILD)/cuda_%: LIBS += $(STRIP)
$(BUILD)/test_% $(BUILD)/cuda_%: LIBS += $(if $(SAN),,$(FAST_LD))

# programs have libgomp in them, where there is libgomp.a (tools/openmp_spin.c says why)
GOMP    := $(if $(SAN),,$(filter /%,$(shell $(CC) -print-file-name=libgomp.a)))
OPENMP  := $(or $(GOMP),-fopenmp)
RUNS    := $(PROGRAMS:%=$(BUILD)/%) $(BUILD)/bench $(BUILD)/bench_vit $(BUILD)/bench_products
$(RUNS): $(BUILD)/tools/openmp_spin.o
$(RUNS): private FLAGS := $(filter-out -fopenmp,$(FLAGS))
$(RUNS): LIBS += $(OPENMP)
all: $(PROGRAMS:%=$(BUILD)/%)
	@$(if $(SAN),,for p in $(PROGRAMS); do ln -sf $(BUILD)/$$p $$p; done)
	$(call left_out,$(PCRE2),tokenizer.json and .tiktoken vocabularies,libpcre2-dev)
	$(call left_out,$(UTF8PROC),tokenizers with NFC,libutf8proc-dev)
	$(call left_out,$(ZSTD),texts in .zst,libzstd-dev)
	$(call left_out,$(JPEG),JPEG images,libjpeg-dev)
	$(call left_out,$(PNG),PNG images,libpng-dev)
	$(call left_out,$(WEBP),WebP images,libwebp-dev)
	$(call left_out,$(MPI),several ranks on CPUs,libopenmpi-dev openmpi-bin)

comma   := ,
OBJCOPY := $(shell $(CC) -print-prog-name=objcopy 2>/dev/null)
# nothing of a kernel but its cpu_kernel is seen by others: one cannot run another's code
define cpu_kernel
$(BUILD)/cpu/$(1)/%.o: cpu/%.c $(BUILD)/flags
	@mkdir -p $$(@D)
	$$(if $$(V),,@echo "  cc  $$< ($(1))")
	$$(Q)$$(CC) $$(FLAGS) $$(OPT) $$(CPU_FLAGS_$(1)) -ffp-contract=off -DCPU_KERNEL=cpu_kernel_$(1) -MMD -MP -c $$< -o $$@
$(BUILD)/cpu/$(1).o: $(CPU_SRC:cpu/%.c=$(BUILD)/cpu/$(1)/%.o)
	$$(Q)$$(CC) -r -nostdlib $$^ -o $$@.all && $(OBJCOPY) --keep-global-symbol=cpu_kernel_$(1) $$@.all $$@
endef
# products of bf16 in pairs: the same files once more, in the kernel for AVX-512 (cpu/unit.h); and, for the tests, in a
# copy of the plain one, with a model of AMX's instructions
define bf16_pairs
$(BUILD)/cpu/$(1)/%.o: cpu/%.c $(BUILD)/flags
	@mkdir -p $$(@D)
	$$(if $$(V),,@echo "  cc  $$< ($(1))")
	$$(Q)$$(CC) $$(FLAGS) $$(OPT) $(4) -ffp-contract=off -DBY_PAIRS -MMD -MP -c $$< -o $$@
$(BUILD)/cpu/$(1).o: $(3:%=$(BUILD)/cpu/$(1)/%.o)
	$$(Q)$$(CC) -r -nostdlib $$^ -o $$@.all && $(OBJCOPY) --keep-global-symbol=$(2) $$@.all $$@
endef
AMX := product pack tile micro_amx
$(eval $(call bf16_pairs,pairs,product_own_pairs,product product_few pack micro,$(CPU_FLAGS_avx512) -mavx512bf16))
$(eval $(call bf16_pairs,amx,product_own_amx,$(AMX),$(CPU_FLAGS_avx512) -mamx-tile -mamx-bf16 -DBY_AMX))
$(eval $(call bf16_pairs,amx_model,product_own_amx,$(AMX),$(CPU_FLAGS_plain) -DBY_AMX -include test/amx/amx_model.h))
$(BUILD)/cpu/avx512.o: $(BUILD)/cpu/pairs.o $(BUILD)/cpu/amx.o
$(BUILD)/test/amx.o: $(BUILD)/test/amx/amx_device.o $(CPU_SRC:cpu/%.c=$(BUILD)/cpu/plain/%.o) $(BUILD)/cpu/amx_model.o
	$(Q)$(CC) -r -nostdlib $^ -o $@.all && $(OBJCOPY) --keep-global-symbol=amx_device $@.all $@
$(foreach kernel,$(CPU_KERNELS),$(eval $(call cpu_kernel,$(kernel))))

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(if $(V),,@echo "  cc  $<")
	$(Q)$(CC) $(FLAGS) $(OPT) -MMD -MP -c $< -o $@

$(BUILD)/train_gpt: $(BUILD)/train.o $(GPT) $(LIB)
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) $(filter %.o,$^) $(LIBS) -o $@

$(BUILD)/train_vit: $(BUILD)/train.o $(BUILD)/train/task_of_train_vit.o $(LIB)
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) $(filter %.o,$^) $(LIBS) -o $@

$(BUILD)/tokenize: $(BUILD)/tools/tokenize.o $(BUILD)/tools/tokenize_chat.o $(GPT) $(LIB)
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) $(filter %.o,$^) $(LIBS) -o $@

GENERATE_PARTS := $(patsubst %,$(BUILD)/tools/generate_%.o,text score many)
$(BUILD)/generate: $(BUILD)/tools/generate.o $(GENERATE_PARTS) $(GPT) $(LIB)
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) $(filter %.o,$^) $(LIBS) -o $@

EXPORT_PARTS := $(patsubst %,$(BUILD)/tools/export_%.o,hf card gguf image)
$(BUILD)/export: $(BUILD)/tools/export.o $(EXPORT_PARTS) $(GPT) $(LIB)
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) $(filter %.o,$^) $(LIBS) -o $@

$(BUILD)/predict: $(BUILD)/tools/predict.o $(GPT) $(LIB)
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) $(filter %.o,$^) $(LIBS) -o $@

$(BUILD)/bench: $(BUILD)/tools/bench.o $(GPT) $(LIB)
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) $(filter %.o,$^) $(LIBS) -o $@

$(BUILD)/bench_vit: $(BUILD)/tools/bench.o $(BUILD)/train/task_of_train_vit.o $(LIB)
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) $(filter %.o,$^) $(LIBS) -o $@

$(BUILD)/bench_products: $(BUILD)/tools/bench_products.o $(LIB)
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) $(filter %.o,$^) $(LIBS) -o $@

# ---- tests ----

TEST_HELP := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(wildcard test/test_*.c test/rig_*.c),$(wildcard test/*.c)))
TESTS     := $(patsubst test/%.c,$(BUILD)/%,$(wildcard test/test_*.c))

# Most tests compile for longer than they compute themselves: what they test is optimized, they are not.  With
# sanitizers some are: which compute much themselves, or of which it was not measured because they run long.
COMPUTING := ops_linear ops_stored $(if $(SAN),arena bits bpe_kinds convnext cuda decode fault fp8 freeze hf_convnext kernels \
             memory_search offload ops_attention ops_optim ops_rows ops_sparse option_effects plan product_sizes \
             resnet resume stored_numbers vit_run)
BRIEF     := $(filter-out $(COMPUTING:%=$(BUILD)/test_%),$(TESTS))
$(BRIEF:$(BUILD)/%=$(BUILD)/test/%.o): OPT := $(if $(SAN),-O0,-O1)

# What a hundred tests have in common is linked once: with sanitizers it is 80 MB.  Without them it is
# in each program, as in the programs that people run, and its debug information stays in the objects.
TESTED      := $(if $(SAN),$(BUILD)/tested.so,$(GPT) $(LIB))
TESTED_RACE := $(BUILD)/tested_race.so
$(BUILD)/tested.so: $(GPT) $(LIB)
$(BUILD)/tested_race.so: $(GPT) $(LIB:%.cu.o=%.cu.race.o)
$(BUILD)/tested.so $(BUILD)/tested_race.so:
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) -shared $(filter %.o,$^) $(LIBS) -o $@

# Here it is in the program: calls that it makes are wrapped, or kernels are beside it (cudasim).
ALONE := $(addprefix $(BUILD)/test_,far fault memory checkpoint kill resume cudasim)
$(ALONE): $(BUILD)/test_%: $(BUILD)/test/test_%.o $(TEST_HELP) $(BUILD)/test/rig_cpu.o $(GPT) $(LIB)
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) $(filter %.o,$^) $(LIBS) -lcmocka -o $@

$(BUILD)/test_%: $(BUILD)/test/test_%.o $(TEST_HELP) $(BUILD)/test/rig_cpu.o $(TESTED)
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) $(filter %.o %.so,$^) $(LIBS) -Wl,-rpath,'$$ORIGIN' -lcmocka -o $@

# the tests of the operations again, on CUDA
CUDA_TESTS := $(patsubst test/test_%.c,$(BUILD)/cuda_%,$(filter-out test/test_ops_ref.c,$(wildcard test/test_ops_*.c)))
$(BUILD)/cuda_%: $(BUILD)/test/test_%.o $(TEST_HELP) $(BUILD)/test/rig_cuda.o $(TESTED)
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) $(filter %.o %.so,$^) $(LIBS) -Wl,-rpath,'$$ORIGIN' -lcmocka -o $@
# and once more under the race detector
RACE_TESTS := $(CUDA_TESTS:$(BUILD)/cuda_%=$(BUILD)/race_%)
$(BUILD)/race_%: $(BUILD)/test/test_%.o $(TEST_HELP) $(BUILD)/test/rig_cuda.o $(TESTED_RACE)
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) $(filter %.o %.so,$^) $(LIBS) -Wl,-rpath,'$$ORIGIN' -lcmocka -o $@

# one of these with the kernel files MUTANTS from build/mutant (test/mutants.sh)
MUTANT_LIB := $(filter-out $(MUTANTS:%=$(BUILD)/cuda/%.cu.race.o),$(LIB:%.cu.o=%.cu.race.o))
build/mutant/test: $(BUILD)/test/test_$(OF).o $(TEST_HELP) $(BUILD)/test/rig_cuda.o $(GPT) $(MUTANT_LIB) $(MUTANTS:%=build/mutant/%.o)
	$(Q)$(CC) $(FLAGS) $(filter %.o,$^) $(LIBS) -lcmocka -o $@

# a step as a GPU would be given it (scripts/gpu-model)
$(BUILD)/gpu_model: $(BUILD)/test/cudasim/gpu_model.o $(GPT) $(LIB)
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) $(filter %.o,$^) $(LIBS) -o $@

ifeq ($(CUDA),sim)
TESTS += $(CUDA_TESTS) $(RACE_TESTS) $(BUILD)/gpu_model
endif

# Products and small runs, to compare the bits of two kinds of processor (test/arm64.sh).  BARE=1: the compiler is one for
# another processor, which has no library but C's; files, JSON and pictures are not linked, and nothing of them is called
BARE       ?=
BARE_LEAVES := data/bpe/% data/chat/% data/images/picture_% model/hf/% plan/% cpu/blas.o ranks/tcp.o
ARM64_BITS := $(if $(BARE),$(filter-out $(addprefix $(BUILD)/,$(BARE_LEAVES)),$(LIB)),$(LIB))
$(BUILD)/arm64_bits: $(BUILD)/test/arm64/arm64_bits.o $(ARM64_BITS)
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) $(filter %.o,$^) $(if $(BARE),-static -Wl$(comma)--unresolved-symbols=ignore-all -lm,$(LIBS)) -o $@
ifeq ($(SAN),)
TESTS += $(BUILD)/arm64_bits
endif

# the tokens of many texts and a model's logits, for the comparison with other programs
$(BUILD)/peer_%: $(BUILD)/test/peers/%.o $(GPT) $(LIB)
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) $(filter %.o,$^) $(LIBS) -o $@

.PHONY: test-peers
test-peers:
	@scripts/deps build bench
	@$(MAKE) --no-print-directory -j2 all $(BUILD)/peer_ids $(BUILD)/peer_logits $(BUILD)/peer_templates
	@BUILD=$(BUILD) test/peers/run.sh

# runs the program that is beside it
$(BUILD)/test_option_effects: | $(BUILD)/train_gpt
$(BUILD)/test_predict: | $(BUILD)/predict
$(BUILD)/test_offload: | $(BUILD)/train_gpt
# one of the disk's calls fails
$(BUILD)/test_far: LIBS += -Wl,--wrap=pread -Wl,--wrap=pwrite

# every allocation of this program is seen; a sanitizer has its own allocator, so not there
WRAPPED := malloc calloc realloc aligned_alloc
$(BUILD)/test_memory: LIBS += $(WRAPPED:%=-Wl,--wrap=%)
ifneq ($(SAN),)
TESTS := $(filter-out %/test_memory,$(TESTS))
endif

$(BUILD)/test_product_sizes: $(BUILD)/test/amx.o

# in a build for GPUs it is in LIB
$(BUILD)/test_library: $(BUILD)/cuda/library.o

# here each of them fails in turn; the programs' mains are in it as functions
FAULTY := malloc calloc realloc aligned_alloc strdup strndup asprintf free open read pread write \
          pwrite fsync close rename mkdir fstat stat opendir readdir ftruncate lseek flock \
          glob fopen fdopen open_memstream fileno
$(BUILD)/test_fault: LIBS += $(FAULTY:%=-Wl,--wrap=%)
$(BUILD)/test_fault: $(patsubst %.c,$(BUILD)/%.o,$(wildcard test/fault/*.c)) $(GENERATE_PARTS) $(EXPORT_PARTS)

# fuzz targets: clang's libFuzzer, and only what reads files (no OpenMP, no BLAS)
FUZZ_CC     ?= clang
FUZZ_FLAGS  := -std=c17 -D_GNU_SOURCE -I. $(DEBUG_INFO) $(FUZZ_OPT) -DREGRAD_DEBUG -Wall -Wextra -Werror \
               -Wno-unknown-pragmas -Wno-format-zero-length -fno-omit-frame-pointer -fsanitize=address,undefined \
               -fno-sanitize-recover=all
FUZZ_SRC    := $(filter base/%.c core/%.c ranks/comm.c params/%.c optim/%.c data/%.c infer/chat_tokens.c infer/choices.c io/%.c model/%.c run/%.c train/option_row.c train/options_file.c,$(LIB_SRC))
FUZZ        := $(patsubst fuzz/fuzz_%.c,$(FUZZ_BUILD)/%,$(wildcard fuzz/fuzz_*.c))
$(FUZZ): LIBS += $(FAST_LD)
# the calls that read files: a target's files are in memory (fuzz/memory_files.h)
FUZZ_CALLS  := open close read pread stat fstat access fopen gzopen
$(FUZZ_BUILD)/data/images/%.o $(FUZZ_BUILD)/fuzz/fuzz_images.o: FUZZ_FLAGS += $(if $(filter yes,$(JPEG)),-DWITH_JPEG) $(if $(filter yes,$(PNG)),-DWITH_PNG) $(if $(filter yes,$(WEBP)),-DWITH_WEBP)

$(FUZZ_BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  cc  $< (fuzz)")
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c $< -o $@

# an archive, so that a target has only what it needs: libFuzzer goes through all counters after each input
$(FUZZ_BUILD)/readers.a: $(FUZZ_SRC:%.c=$(FUZZ_BUILD)/%.o)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(FUZZ): $(FUZZ_BUILD)/%: $(FUZZ_BUILD)/fuzz/fuzz_%.o $(FUZZ_BUILD)/fuzz/fuzz.o $(FUZZ_BUILD)/fuzz/memory_files.o $(FUZZ_BUILD)/readers.a
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer $(FUZZ_CALLS:%=-Wl,--wrap=%) $^ $(LIBS) -o $@

.PHONY: fuzz fuzz-build deps-fuzz
fuzz-build: $(FUZZ)
fuzz: deps-fuzz
	@$(MAKE) --no-print-directory -j2 fuzz-build
	@fuzz/run

# the calls by which a disk is changed: noted, stopped at, made to fail
DISK := open write fsync rename unlink rmdir mkdir
DISK_TESTS := $(addprefix $(BUILD)/,test_checkpoint test_kill test_resume)
$(DISK_TESTS): LIBS += $(DISK:%=-Wl,--wrap=%)
$(DISK_TESTS): $(patsubst %.c,$(BUILD)/%.o,$(wildcard test/disk/*.c))

tests: all $(TESTS)
.PHONY: tests

test: deps-test
	-@scripts/deps fuzz # without, fuzzing is skipped
	@$(MAKE) --no-print-directory -j2 tests
	@$(MAKE) --no-print-directory -j2 tests SAN=1
	@scripts/run-tests

# on a GPU: the operations, the optimizer's bits, training, resuming; compute-sanitizer.  A machine that
# has GPUs to lend may have no packages to give: what cannot be installed or built is said, and what is
# there is run
GPU_TESTS := $(CUDA_TESTS) $(BUILD)/test_cuda $(BUILD)/test_offload_cuda $(BUILD)/test_nccl
test-gpu:
	-@scripts/deps test
	-@$(MAKE) --no-print-directory -k -j$$(nproc) CUDA=nvcc gpu-tests
	@PROGRAMS=build/release scripts/run-tests $(GPU_TESTS) test/test_cuda.sh test/compute_sanitizer.sh
gpu-tests: all $(GPU_TESTS)
.PHONY: test-gpu gpu-tests

test-long: deps-test
	-@scripts/deps fuzz
	-@scripts/deps arm64 # about 500 MB
	@$(MAKE) --no-print-directory -j2 tests
	@$(MAKE) --no-print-directory -j2 tests SAN=1
	@LONG=1 scripts/run-tests

# ---- demo, bench ----

# where CUDA was not chosen and there is no GPU to train on
DEMO_CUDA = $(if $(filter file,$(origin CUDA)),$(if $(GPU_HERE),,CUDA=none))

demo-data: deps-demo
	@$(MAKE) --no-print-directory -j2 $(DEMO_CUDA) all
	@scripts/demo-data $(if $(TEXT),'$(TEXT)')

demo: demo-data
	@scripts/demo

demo-chat: deps-build
	@$(MAKE) --no-print-directory -j2 $(DEMO_CUDA) all
	@scripts/demo-chat

demo-vit: deps-demo-vit
	@$(MAKE) --no-print-directory -j2 $(DEMO_CUDA) all
	@scripts/demo-vit

bench: deps-bench
	@$(MAKE) --no-print-directory -j2 all $(BUILD)/bench $(BUILD)/bench_vit $(BUILD)/bench_products
	@$(BUILD)/bench_products
	@scripts/bench
	@scripts/rank-times

bench-gpu:
	-@$(MAKE) --no-print-directory -k -j$$(nproc) CUDA=nvcc all
	@scripts/bench-gpu

ptxas: all
	@{ sed '/^|/,$$d' docs/ptxas.md; scripts/ptxas-table $(BUILD); } >$(BUILD)/ptxas.md && mv $(BUILD)/ptxas.md docs/ptxas.md

docs: all
	@scripts/cli-page $(BUILD) >$(BUILD)/cli.md && mv $(BUILD)/cli.md docs/cli.md
	@$(BUILD)/train_gpt --plan --model gpt2-124m --batch 4 --seq 64 --optim adamw_r --plan-beside adamw/passes --out $(BUILD)/plan >/dev/null
	@mv $(BUILD)/plan/plan.svg docs/plan.svg
.PHONY: bench-gpu ptxas docs

deps:
	@scripts/deps build
deps-build deps-test deps-demo deps-demo-vit deps-bench deps-fuzz: deps-%:
	@scripts/deps $*

format:
	clang-format -i $$(git ls-files '*.c' '*.h' '*.cu' '*.cpp')

# ---- the library: libregrad.so, and libregrad.a of one object, with nothing but regrad_* visible ----

VERSION := $(file <VERSION)
$(BUILD)/lib/regrad.o $(BUILD)/base/command_line.o $(BUILD)/tools/export_card.o: FLAGS += -DREGRAD_VERSION='"$(VERSION)"'
$(FUZZ_BUILD)/base/command_line.o: FUZZ_FLAGS += -DREGRAD_VERSION='"$(VERSION)"'
$(BUILD)/lib/regrad.o $(BUILD)/base/command_line.o $(BUILD)/tools/export_card.o $(FUZZ_BUILD)/base/command_line.o: VERSION

# changes when a program that was linked with the library before would not run with it now
ABI := 0

.PHONY: library
library: $(BUILD)/libregrad.so $(BUILD)/libregrad.a

$(BUILD)/libregrad.so.$(ABI): LIBS += $(STRIP)
$(BUILD)/libregrad.so.$(ABI): $(LIB) $(BUILD)/lib/regrad.o
	$(if $(V),,@echo "  ld  $@")
	$(Q)$(CC) $(FLAGS) -shared -Wl,-soname,$(@F) -Wl,--no-undefined -Wl,--exclude-libs,ALL $(filter %.o,$^) $(LIBS) -o $@
$(BUILD)/libregrad.so: $(BUILD)/libregrad.so.$(ABI)
	$(Q)ln -sf $(<F) $@

$(BUILD)/libregrad.a: $(LIB) $(BUILD)/lib/regrad.o
	$(if $(V),,@echo "  ar  $@")
	$(Q)ld -r -o $(BUILD)/regrad_all.o $(filter %.o,$^)
	$(Q)$(OBJCOPY) --wildcard --keep-global-symbol='regrad_*' $(BUILD)/regrad_all.o
	$(Q)rm -f $@ && ar rcs $@ $(BUILD)/regrad_all.o

# ---- install ----

PREFIX  ?= /usr/local
BIN     := $(DESTDIR)$(PREFIX)/bin
MAN     := $(DESTDIR)$(PREFIX)/share/man/man1
COMPLETE := $(DESTDIR)$(PREFIX)/share/bash-completion/completions
INCLUDE := $(DESTDIR)$(PREFIX)/include
LIBRARY := $(DESTDIR)$(PREFIX)/lib
.PHONY: install uninstall dist

define PKG_CONFIG
Name: regrad
Description: training of GPT and ViT models in one planned block of memory
Version: $(VERSION)
Cflags: -I$(PREFIX)/include
Libs: -L$(PREFIX)/lib -lregrad
Libs.private: -fopenmp $(LIBS)
endef

install: all library
	@mkdir -p '$(INCLUDE)' '$(LIBRARY)/pkgconfig'
	install -m 644 lib/regrad.h '$(INCLUDE)'
	install -m 644 $(BUILD)/libregrad.a '$(LIBRARY)'
	install -m 755 $(BUILD)/libregrad.so.$(ABI) '$(LIBRARY)'
	ln -sf libregrad.so.$(ABI) '$(LIBRARY)'/libregrad.so
	$(file >$(BUILD)/regrad.pc,$(PKG_CONFIG))
	install -m 644 $(BUILD)/regrad.pc '$(LIBRARY)/pkgconfig'
	@mkdir -p '$(BIN)' '$(MAN)' '$(COMPLETE)'
	install -m 755 $(PROGRAMS:%=$(BUILD)/%) '$(BIN)'
	@for p in $(PROGRAMS); do \
	    scripts/man $(BUILD)/$$p >'$(MAN)'/$$p.1 && scripts/completion $(BUILD)/$$p >'$(COMPLETE)'/$$p || exit 1; done

uninstall:
	rm -f '$(INCLUDE)'/regrad.h '$(LIBRARY)'/libregrad.* '$(LIBRARY)'/pkgconfig/regrad.pc
	rm -f $(PROGRAMS:%='$(BIN)'/%) $(PROGRAMS:%='$(MAN)'/%.1) $(PROGRAMS:%='$(COMPLETE)'/%)

dist:
	git archive --prefix=regrad-$(VERSION)/ -o regrad-$(VERSION).tar.gz HEAD
	@echo regrad-$(VERSION).tar.gz

clean:
	rm -rf build $(PROGRAMS)

-include $(shell find $(BUILD) $(FUZZ_BUILD) -name '*.d' 2>/dev/null)
