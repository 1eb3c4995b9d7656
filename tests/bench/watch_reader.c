/* Opens many watches over TLS and counts their events: watch_reader HOST PORT CERT KEY COUNT PATH
 *
 * Nothing is parsed: an event is a line that ends with a brace. Prints "open" once every watch has
 * been answered, then every 50 ms the number of events and bytes so far, and at last, when standard
 * input ends, nothing. Exits with status 1 if a watch ends. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct watch {
    SSL *tls;
    char last;
    int open;
};

static unsigned long long events, bytes;
static int opened;

static void fail(const char *what)
{
    perror(what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static int dial(const char *host, const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        fail("host");
    if (connect(descriptor, (struct sockaddr *)&address, sizeof address))
        fail("connect");
    return descriptor;
}

static void begin(struct watch *watch, SSL_CTX *context, const char *host, const char *port,
                  const char *path)
{
    char request[2048];
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: bench\r\nAccept: application/json\r\n\r\n", path);
    int descriptor = dial(host, port);
    watch->tls = SSL_new(context);
    SSL_set_fd(watch->tls, descriptor);
    if (SSL_connect(watch->tls) != 1 || SSL_write(watch->tls, request, size) != size)
        fail("handshake");
    fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
}

static void count(struct watch *watch, const char *data, int size)
{
    const char *end = data + size;
    for (const char *at = data; (at = memchr(at, '\n', end - at)); at++)
        events += (at > data ? at[-1] : watch->last) == '}';
    watch->last = end[-1];
    bytes += size;
    opened += !watch->open;
    watch->open = 1;
}

static void take(struct watch *watch)
{
    static char buffer[1 << 18];
    int size;
    while ((size = SSL_read(watch->tls, buffer, sizeof buffer)) > 0)
        count(watch, buffer, size);
    if (SSL_get_error(watch->tls, size) != SSL_ERROR_WANT_READ) {
        fprintf(stderr, "a watch has ended\n");
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc != 7)
        return 2;
    int number = atoi(argv[5]), queue = epoll_create1(0), told = 0;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (SSL_CTX_use_certificate_file(context, argv[3], SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, argv[4], SSL_FILETYPE_PEM) != 1)
        fail("certificate");
    SSL_CTX_set_default_read_buffer_len(context, 1 << 17);
    SSL_CTX_set_read_ahead(context, 1);

    struct watch *watches = calloc(number, sizeof *watches);
    for (int at = 0; at < number; at++) {
        begin(&watches[at], context, argv[1], argv[2], argv[6]);
        struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = &watches[at]};
        epoll_ctl(queue, EPOLL_CTL_ADD, SSL_get_fd(watches[at].tls), &wanted);
    }
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct itimerspec every = {{0, 50000000}, {0, 50000000}};
    timerfd_settime(timer, 0, &every, NULL);
    struct epoll_event ticks = {.events = EPOLLIN, .data.ptr = &timer};
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(queue, EPOLL_CTL_ADD, timer, &ticks);
    epoll_ctl(queue, EPOLL_CTL_ADD, 0, &input);

    for (;;) {
        struct epoll_event ready[256];
        int found = epoll_wait(queue, ready, 256, -1);
        for (int at = 0; at < found; at++) {
            unsigned long long ticked;
            if (!ready[at].data.ptr)
                return 0;
            if (ready[at].data.ptr != &timer) {
                take(ready[at].data.ptr);
            } else if (read(timer, &ticked, sizeof ticked) > 0) {
                if (!told && opened == number && (told = 1))
                    printf("open\n");
                else if (told)
                    printf("%llu %llu\n", events, bytes);
                fflush(stdout);
            }
        }
    }
}
