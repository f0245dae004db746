/* descriptors.c - see descriptors.h */
#include "base/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

error *descriptors_fill(bool output_is_result)
{
    for (int fd = 0; fd <= 2; fd++) {
        int how = fd == 1 && output_is_result ? O_RDONLY : O_RDWR;
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", how) != fd)
            return user_error("/dev/null cannot be opened: %s", strerror(errno));
    }
    return NULL;
}
