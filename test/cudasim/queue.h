/* queue.h - work on an emulated stream, for the files of the emulator. */
#ifndef CUDASIM_QUEUE_H
#define CUDASIM_QUEUE_H

#include <cuda_runtime_api.h>
#include <functional>

/* What a piece of work needs of other processes.  Device memory is closed while it is missing. */
struct emu_others {
    std::function<bool()> missing; /* it can do nothing before they are further */
    std::function<bool()> ready;   /* goes on as far as it can: has all that it needs come? */
};

/* In runtime.cpp.  Both are asked again and again. */
void emu_enqueue(cudaStream_t, std::function<void()>, emu_others = {});

#endif
