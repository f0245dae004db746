/* nccl_none.c - a CUDA build whose toolkit has no nccl.h; see cuda.h */
#include "cuda/cuda.h"

error *cuda_join(device *dev, comm *c)
{
    (void)dev, (void)c;
    return user_error("this program was built without NCCL, which ranks on GPUs need: install "
                      "libnccl-dev and run make again, or use --device cpu");
}
