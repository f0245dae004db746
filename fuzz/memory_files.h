/* memory_files.h - files that exist in this process alone, for readers that take a path.
 *
 *     reader --open, stat, pread, ...--> __wrap_...  --a path or descriptor of ours--> bytes in memory
 *                                                    --any other-------------------> the system
 *
 * The linker sends the readers' calls here (WRAPPED_FILES in the Makefile).  A system call for each
 * would be most of what a target does: through memfd, and a directory of links, the same targets
 * ran at a third of the speed.  zlib opens by itself, out of the linker's reach: for gzopen a
 * file's bytes are put into one of the system's.
 */
#ifndef REGRAD_FUZZ_MEMORY_FILES_H
#define REGRAD_FUZZ_MEMORY_FILES_H

#include <stddef.h>

/* The directory that all of them lie in; there is no other in it. */
extern const char memory_directory[];

/* The file of that name in it, made or written over with these bytes, which are copied:
 * its path, good for the life of the process.  Ends the program where there is no memory,
 * or are too many files. */
const char *memory_file(const char *name, const void *bytes, size_t n);

#endif
