/* descriptors.c - see descriptors.h */
#include "base/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

error *descriptors_fill(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) != fd)
            return user_error("/dev/null cannot be opened: %s", strerror(errno));
    return NULL;
}
