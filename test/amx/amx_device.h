/* amx_device.h - the CPU device with products of bf16 by AMX, whose instructions are a model
 * (amx_model.h): it runs on any processor. */
#ifndef REGRAD_TEST_AMX_DEVICE_H
#define REGRAD_TEST_AMX_DEVICE_H

#include "core/ops.h"

error *amx_device(int threads, device *out) NODISCARD;

#endif
