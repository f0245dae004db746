/* queue.h - work on an emulated stream, for the files of the emulator. */
#ifndef CUDASIM_QUEUE_H
#define CUDASIM_QUEUE_H

#include <cuda_runtime_api.h>
#include <functional>

/* In runtime.cpp.  ready: ? are other processes so far?  Asked again and again, until they are. */
void emu_enqueue(cudaStream_t, std::function<void()>, std::function<bool()> ready = nullptr);

#endif
