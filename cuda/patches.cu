/* patches.cu - images cut into patches of h x w:
 *
 *     out[b, i W' + j, (c h + y) w + x] = images[b, c, i h + y, j w + x],   W' = W / w
 *
 * A block has a patch; it writes contiguously and reads in pieces of w.
 * bytes: 4 + s for each element */
#include "cuda/gpu.h"

static constexpr int MOST_THREADS = 256;

template <class T> struct patches_call {
    T *out;              /* (B,N,Ch*h*w) */
    const float *images; /* (B,Ch,H,W) */
    int64_t patches, across, size;
    int height, width, high, wide, channels; /* h, w, H, W, Ch */
};

/* STEP: WIDTH where each row of a patch is made of so many, which lie on 16 bytes in the
 * image and in out; else 1 */
template <class T, int STEP> __global__ void patches_kernel(patches_call<T> a)
{
    int64_t b = blockIdx.x / a.patches;
    int i = (int)(blockIdx.x % a.patches / a.across), j = (int)(blockIdx.x % a.patches % a.across);
    const float *image = a.images + b * a.channels * a.high * a.wide;
    T *out = a.out + blockIdx.x * a.size;
    for (int at = threadIdx.x * STEP; at < a.size; at += blockDim.x * STEP) {
        int x = at % a.width, line = at / a.width, y = line % a.height, c = line / a.height;
        const float *from =
            image + ((int64_t)c * a.high + i * a.height + y) * a.wide + (int64_t)j * a.width + x;
        if (STEP == 1)
            narrowed(&out[at], *from);
        else
            store(out + at, STEP, true, load_as<T>(from, STEP, true));
    }
}

template <class T> static void launch_patches(device *dev, int stream, const patches_op *o)
{
    patches_call<T> a = {};
    a.out = (T *)o->out.data, a.images = (const float *)o->images.data;
    a.channels = (int)o->images.dim[1];
    a.high = (int)o->images.dim[2], a.wide = (int)o->images.dim[3];
    a.height = (int)o->height, a.width = (int)o->width;
    a.across = a.wide / a.width, a.patches = a.high / a.height * a.across;
    a.size = (int64_t)a.channels * a.height * a.width;
    unsigned blocks = groups(o->images.dim[0] * a.patches, 1);
    if (wide(o->images) && wide(o->out) && a.wide % 4 == 0 && a.width % WIDTH<T> == 0)
        RUN(dev, stream, (patches_kernel<T, WIDTH<T>>), blocks,
            threads_for(a.size, WIDTH<T>, MOST_THREADS), 0, a);
    else
        RUN(dev, stream, (patches_kernel<T, 1>), blocks, threads_for(a.size, 1, MOST_THREADS), 0,
            a);
}

CUDA_ENTRY(patches, out, launch_patches)
