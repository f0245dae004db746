/* wire.c - a wire between two hosts of test/two_hosts.sh, which does to frames what is asked for.
 *
 *     host alpha: eth0 ---- A   wire   B ---- eth0 :host beta
 *
 *     wire A B          carries frames between two interfaces, until its input ends
 *     wire --plain IF   has IF send frames as a real wire has them: whole checksums, none too long
 *
 * A kernel that has tc's netem could do it, but those of small machines come without.  What is read
 * from the input, line by line, holds from then on:
 *
 *     delay MS          each frame arrives that much later, each way
 *     loss PERCENT      of the frames, each way, do not arrive; which ones, a counter's hash says
 *     cut               none arrives
 *     whole             no delay, no loss, not cut
 *
 * Answers "ok" to each.  At the end, says how many frames it has carried and lost. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FRAME = 2048, QUEUE = 1 << 14 }; /* what does not fit is lost, as in a switch */

typedef struct {
    double due;
    size_t bytes;
    int to;
    unsigned char frame[FRAME];
} packet;

typedef struct {
    packet *queue; /* (QUEUE) a ring, due in this order while the delay only grows */
    unsigned first, n;
    double delay, loss; /* seconds; part of 1 */
    bool cut;
    uint64_t seen, lost;
} wire;

static void fail(const char *what)
{
    fprintf(stderr, "wire: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* What a kernel leaves to a card, and veth to nobody: a frame would come with half a checksum. */
static int make_plain(const char *name)
{
    static const unsigned what[] = {ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO, ETHTOOL_STXCSUM};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq r = {0};
    snprintf(r.ifr_name, sizeof r.ifr_name, "%s", name);
    for (int i = 0; i < 4; i++) {
        struct ethtool_value off = {.cmd = what[i]};
        r.ifr_data = (char *)&off;
        if (ioctl(fd, SIOCETHTOOL, &r) && errno != EOPNOTSUPP) fail(name);
    }
    close(fd);
    return 0;
}

static int open_end(const char *name)
{
    int on = 1, fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
    struct sockaddr_ll at = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(ETH_P_ALL),
                             .sll_ifindex = (int)if_nametoindex(name)};
    if (fd < 0 || !at.sll_ifindex) fail(name);
    if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on)) fail(name);
    if (bind(fd, (struct sockaddr *)&at, sizeof at)) fail(name);
    return fd;
}

/* A number in 0 .. 1 that the counter alone decides. */
static double hashed(uint64_t i)
{
    i = (i + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9;
    i = (i ^ i >> 27) * 0x94d049bb133111eb;
    return (double)((i ^ i >> 31) >> 11) * 0x1p-53;
}

/* All that has come at one end. */
static void take(wire *w, int from, int to)
{
    for (;;) {
        packet *p = &w->queue[(w->first + w->n) % QUEUE];
        static unsigned char none[FRAME];
        ssize_t k = recv(from, w->n < QUEUE ? p->frame : none, FRAME, MSG_TRUNC);
        if (k <= 0) return;
        if (k > FRAME) {
            fprintf(stderr, "wire: a frame of %zd bytes: is its sender --plain?\n", k);
            exit(1);
        }
        w->seen++;
        if (w->cut || w->n == QUEUE || hashed(w->seen) < w->loss) {
            w->lost++;
            continue;
        }
        p->bytes = (size_t)k;
        p->to = to;
        p->due = now() + w->delay;
        w->n++;
    }
}

/* A frame that the other end does not take is lost, as on a wire. */
static void send_due(wire *w)
{
    for (; w->n && w->queue[w->first].due <= now(); w->n--) {
        packet *p = &w->queue[w->first];
        if (send(p->to, p->frame, p->bytes, 0) < 0) w->lost++;
        w->first = (w->first + 1) % QUEUE;
    }
}

static void obey(wire *w, const char *line)
{
    double x = 0;
    if (sscanf(line, "delay %lf", &x) == 1) {
        w->delay = x / 1e3;
    } else if (sscanf(line, "loss %lf", &x) == 1) {
        w->loss = x / 100;
    } else if (!strcmp(line, "cut\n")) {
        w->cut = true;
        w->n = 0;
    } else if (!strcmp(line, "whole\n")) {
        w->delay = w->loss = 0;
        w->cut = false;
    } else {
        fprintf(stderr, "wire: what is %s", line);
        exit(1);
    }
    puts("ok");
    fflush(stdout);
}

static int milliseconds_until_due(const wire *w)
{
    double left = w->n ? w->queue[w->first].due - now() : 1;
    return left <= 0 ? 0 : (int)(1e3 * left) + 1;
}

static void carry(wire *w, int a, int b)
{
    struct pollfd ends[3] = {{a, POLLIN, 0}, {b, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    char line[80];
    setvbuf(stdin, NULL, _IONBF, 0);
    for (;;) {
        if (poll(ends, 3, milliseconds_until_due(w)) < 0 && errno != EINTR) fail("poll");
        take(w, a, b);
        take(w, b, a);
        send_due(w);
        if (!ends[2].revents) continue;
        if (!fgets(line, sizeof line, stdin)) return;
        obey(w, line);
    }
}

int main(int argc, char **argv)
{
    static wire w;
    if (argc != 3) return 2;
    if (!strcmp(argv[1], "--plain")) return make_plain(argv[2]);
    w.queue = calloc(QUEUE, sizeof *w.queue);
    if (!w.queue) fail("memory");
    carry(&w, open_end(argv[1]), open_end(argv[2]));
    printf("%llu frames, %llu lost\n", (unsigned long long)w.seen, (unsigned long long)w.lost);
    free(w.queue);
    return 0;
}
