# build.mk - the objects of the CUDA device, in its three forms; part of the Makefile.
#
#   CUDA=nvcc   cuda/*.cu by nvcc, cuda/*.c by CC, the runtime linked in, cublasLt loaded when needed
#   CUDA=sim    the same files with the emulator's headers, the emulator in place of the libraries
#   CUDA=none   cuda/absent.c, cuda/cuda_kind.c
#
# In the emulator's form each kernel file is compiled once more, for the race detector
# (test/cudasim/race.cpp).
#
# Warnings are errors in all of them.  nvcc leaves beside each object what its kernels take of a GPU
# (scripts/ptxas-table).

CU_SRC := $(sort $(wildcard cuda/*.cu))
# NCCL is for ranks on GPUs; a toolkit without its header builds without
NCCL   ?= $(if $(or $(filter sim,$(CUDA)),$(wildcard $(CUDA_HOME)/include/nccl.h /usr/include/nccl.h)),yes,no)
CU_C   := $(filter-out cuda/absent.c $(if $(filter yes,$(NCCL)),cuda/nccl_none.c,cuda/nccl.c cuda/nccl_load.c),\
            $(sort $(wildcard cuda/*.c)))
# so is cuDNN, for --attention cudnn
CUDNN  ?= $(if $(or $(filter sim,$(CUDA)),$(wildcard $(CUDA_HOME)/include/cudnn.h /usr/include/cudnn.h)),yes,no)
CU_C   := $(filter-out $(if $(filter yes,$(CUDNN)),cuda/cudnn_none.c,cuda/cudnn.c cuda/cudnn_graph.c cuda/cudnn_load.c),$(CU_C))

DEVICES := $(BUILD)/cuda/absent.o $(BUILD)/cuda/cuda_kind.o

# 90 for an H100; empty without a GPU
GPU_HERE := $(if $(NVCC),$(shell nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | sed -n '1s/\.//p'))

ifeq ($(CUDA),nvcc)
ifeq ($(NVCC),)
$(error CUDA=nvcc, but there is no nvcc: install the CUDA toolkit, set NVCC to it, or use CUDA=none)
endif
# without a GPU to build for: the oldest there is code for, and its PTX, which a newer GPU's driver
# compiles when it is loaded; all of them take four times as long
GPU_ARCH ?= $(or $(filter 8% 9% 1%,$(GPU_HERE)),80)
TARGETS  := $(if $(filter all,$(GPU_ARCH)),80 90 100 120,$(GPU_ARCH))
GENCODE  ?= $(foreach a,$(TARGETS),-gencode arch=compute_$(a),code=sm_$(a)) \
            -gencode arch=compute_$(lastword $(TARGETS)),code=compute_$(lastword $(TARGETS))
# nvcc reads its own headers twice for a file, and C++'s with them: for C++14 these are shorter (1.2 s for a file, not 1.9).
# Three files have `if constexpr`, or leave a template's arguments to be deduced.
CU_STD   := c++14
$(patsubst %,$(BUILD)/cuda/%.cu.o,optim attention_mma attention_mma_grad): CU_STD := c++17
NVFLAGS  := -O3 -I. -lineinfo $(GENCODE) -Werror all-warnings \
            -Xcompiler -fPIC -Xcompiler -fvisibility=hidden -Xcompiler -Wall,-Wextra,-Werror,-Wno-missing-field-initializers,-Wno-unused-function

DEVICES := $(CU_C:%.c=$(BUILD)/%.o) $(CU_SRC:%=$(BUILD)/%.o)
LIBS    += -L$(CUDA_HOME)/lib64 -lcudart_static -l:libstdc++.a -ldl -lrt -lpthread
$(CU_C:%.c=$(BUILD)/%.o): FLAGS += -isystem $(CUDA_HOME)/include \
    -DCUDA_TARGETS='"$(addprefix sm_,$(TARGETS))"' -DCUDA_LIBRARIES='"$(CUDA_HOME)/lib64/"'

# what cuDNN says without a GPU
ifeq ($(CUDNN),yes)
$(BUILD)/test/test_cudnn.o: FLAGS += -isystem $(CUDA_HOME)/include -DWITH_CUDNN \
    -DCUDA_LIBRARIES='"$(CUDA_HOME)/lib64/"'
endif

CUDA_BY := $(strip $(NVCC) $(CU_STD) $(NVFLAGS) $(CUDA_HOME))
ifneq ($(CUDA_BY),$(file <$(BUILD)/cuda/flags))
.PHONY: $(BUILD)/cuda/flags
endif
$(BUILD)/cuda/flags:
	@mkdir -p $(@D) && echo '$(CUDA_BY)' >$@
$(CU_C:%.c=$(BUILD)/%.o): $(BUILD)/cuda/flags

$(BUILD)/%.cu.o: %.cu $(BUILD)/cuda/flags
	@mkdir -p $(@D)
	$(if $(V),,@echo "  nvcc $<")
	$(Q)$(NVCC) -std=$(CU_STD) $(NVFLAGS) -MMD -MF $(@:.o=.d) -Xptxas -v -c $< -o $@ 2>$(@:.cu.o=.ptxas) || \
	    { cat $(@:.cu.o=.ptxas) >&2; exit 1; }
endif

ifeq ($(CUDA),nvcc)
# what scripts/gpu-day asks of cublasLt
$(BUILD)/gemm_probe: tools/gemm_probe.cu $(BUILD)/cuda/flags
	$(if $(V),,@echo "  nvcc $<")
	$(Q)$(NVCC) -std=c++20 -O2 $(GENCODE) -Werror all-warnings $< -o $@ -ldl
tests: $(BUILD)/gemm_probe # no test, but it is to compile
endif

ifeq ($(CUDA),sim)
CXX      := g++
SIM_SRC  := $(sort $(wildcard test/cudasim/*.cpp))
SIM_INC  := -I. -Itest/cudasim/include -DCUDASIM
# kernels under the sanitizers; the emulator without them, for it changes stacks
SIM_CXX  := -std=c++20 $(DEBUG_INFO) -fPIC $(SIM_INC) -Wall -Wextra -Werror -Wno-unknown-pragmas \
            -Wno-missing-field-initializers -Wno-unused-function -fno-strict-aliasing
KERNEL   := -Itest/cudasim/kernel -Wdouble-promotion # with C's math.h
SIM_CU   := $(KERNEL) -O1 -ffp-contract=off -fsanitize=address,undefined -fno-sanitize-recover=all \
            -fno-omit-frame-pointer

DEVICES := $(patsubst %.c,$(BUILD)/%.o,$(filter-out cuda/driver.c cuda/library.c cuda/lt.c cuda/nccl_load.c cuda/cudnn_load.c,$(CU_C))) $(CU_SRC:%=$(BUILD)/%.o) \
           $(SIM_SRC:%=$(BUILD)/%.o)
LIBS    += -lstdc++
$(CU_C:%.c=$(BUILD)/%.o) $(BUILD)/test/rig_cuda.o $(BUILD)/test/test_cuda.o $(BUILD)/test/test_offload_cuda.o $(BUILD)/test/test_cudasim.o: FLAGS += $(SIM_INC)

$(BUILD)/%.cu.o: %.cu $(BUILD)/flags
	@mkdir -p $(@D)
	$(if $(V),,@echo "  c++ $<")
	$(Q)$(CXX) $(SIM_CXX) $(SIM_CU) -MMD -MP -x c++ -c $< -o $@

# for the race detector: clang tells of every access (gcc leaves out some of whole structures), and
# what it leaves to memcpy and its kin is told, too
RACE_CXX   ?= clang++
RACE_CU    := $(KERNEL) -O1 -ffp-contract=off -fsanitize=thread
RACE_NAMES := objcopy $(foreach f,memcpy memmove memset,--redefine-sym $(f)=__tsan_$(f))
$(BUILD)/%.cu.race.o: %.cu $(BUILD)/flags
	@mkdir -p $(@D)
	$(if $(V),,@echo "  c++ $< (race)")
	$(Q)$(RACE_CXX) $(SIM_CXX) $(RACE_CU) -MMD -MP -x c++ -c $< -o $@
	$(Q)$(RACE_NAMES) $@

# files from which test/mutants.sh has taken something
build/mutant/%.o: build/mutant/cuda/%.cu
	$(Q)$(RACE_CXX) -Ibuild/mutant $(SIM_CXX) $(RACE_CU) -x c++ -c $< -o $@
	$(Q)$(RACE_NAMES) $@

$(BUILD)/test/cudasim/gpu_model.o: FLAGS += $(SIM_INC)

# mistakes on purpose, with the sanitizers, without, and for the race detector
$(BUILD)/test_cudasim: $(addprefix $(BUILD)/test/cudasim/faults,.cu.o .cu.race.o _plain.o)
$(BUILD)/test/cudasim/faults.cu.o: SIM_CU += -DFAULTS_NAME=faults_checked
$(BUILD)/test/cudasim/faults.cu.race.o: SIM_CXX += -DFAULTS_NAME=faults_watched
$(BUILD)/test/cudasim/faults_plain.o: test/cudasim/faults.cu $(BUILD)/flags
	@mkdir -p $(@D)
	$(if $(V),,@echo "  c++ $< (plain)")
	$(Q)$(CXX) $(SIM_CXX) -O0 -DFAULTS_NAME=faults_unchecked -MMD -MP -x c++ -c $< -o $@

$(BUILD)/%.cpp.o: %.cpp $(BUILD)/flags
	@mkdir -p $(@D)
	$(if $(V),,@echo "  c++ $<")
	$(Q)$(CXX) $(SIM_CXX) -O2 -ftree-vectorize -DEMU_ASAN -MMD -MP -c $< -o $@
endif
