/* cudnn_none.c - a CUDA build whose toolkit has no cudnn.h; see cudnn.h */
#include "cuda/cuda_internal.h"

error *cuda_try_cudnn(device *dev)
{
    (void)dev;
    return user_error("this program was built without cuDNN: install its headers (cudnn.h) and "
                      "run make again, or use --attention flash");
}

static void absent(device *dev)
{
    device_fail(dev, cuda_try_cudnn(dev));
}

void cuda_cudnn_attention(device *dev, int stream, const attention_op *o)
{
    (void)stream, (void)o;
    absent(dev);
}

void cuda_cudnn_attention_grad(device *dev, int stream, const attention_grad_op *o)
{
    (void)stream, (void)o;
    absent(dev);
}

void cuda_close_cudnn(device *dev)
{
    (void)dev;
}
