/* safetensors.h - the file format of trained parameters.
 *
 *   8 bytes: length of the header, little endian
 *   header:  {"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}, ...}, padded
 *            with spaces to a multiple of 8
 *   data:    tensors back to back
 *
 * Names and layouts are Hugging Face's, so that its libraries load the file: parameters marked
 * file_transposed are written transposed (in, out).
 */
#ifndef REGRAD_SAFETENSORS_H
#define REGRAD_SAFETENSORS_H

#include "core/params.h"

/* Writes all parameters; under a temporary name, renamed when complete.  User errors: the path
 * cannot be written, the disk is full; then no file of that name is left or changed. */
error *safetensors_write(const char *path, const params *p, device *dev) NODISCARD;

#endif
