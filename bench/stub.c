/* A model server that costs next to nothing: one thread, epoll, HTTP/1.1 keep-alive.
 *
 *   stub PORT
 *
 * POST with "stream":true  server-sent events: `max_tokens` chunks, `seed` microseconds apart (0: a
 *                          burst, one send() each). A chunk's content is the time at which it was sent
 *                          (CLOCK_MONOTONIC, ns): the reader computes its delay.
 * POST otherwise           a chat completion of about 600 bytes.
 * GET                      {"status":"ok"}
 *
 * The three fields must stand in the first OPENING bytes of the body, which is all that is read of it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FD = 16384, FIRST_ROOM = 8192, OPENING = 256, BATCH = 512 };

typedef struct {
    char *in; /* what has arrived of the request */
    size_t in_length, in_room;
    char *out; /* what the client has not taken yet */
    size_t out_begin, out_end, out_room;
    int streaming;
    long chunks_left;
    int64_t interval, next; /* ns */
} Connection;

static Connection *connections[MAX_FD];
static int streams[MAX_FD], stream_count; /* the connections with a timed stream */
static int poller;

static const char HEALTHY[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                              "Content-Length: 15\r\n\r\n{\"status\":\"ok\"}";
static const char STREAM_HEAD[] = "HTTP/1.1 200 OK\r\nServer: stub\r\nContent-Type: text/event-stream\r\n"
                                  "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char STREAM_END[] = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
static const char COMPLETION[] =
    "{\"choices\":[{\"finish_reason\":\"stop\",\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
    "\"The capital of France is Paris. It lies on the Seine, in the north of the country, and has been its "
    "capital since the tenth century.\"}}],\"created\":1760000000,\"model\":\"stub\",\"system_fingerprint\":"
    "\"b1234-abcdef0\",\"object\":\"chat.completion\",\"usage\":{\"completion_tokens\":32,\"prompt_tokens\":12,"
    "\"total_tokens\":44},\"id\":\"chatcmpl-0123456789abcdef0123456789abcdef\",\"timings\":{\"prompt_n\":12,"
    "\"prompt_ms\":11.5,\"prompt_per_second\":1043.4,\"predicted_n\":32,\"predicted_ms\":320.1,"
    "\"predicted_per_second\":99.97}}";
static char answer[2048];
static size_t answer_length;

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void watch(int fd, int writable) {
    struct epoll_event event = {.events = EPOLLIN | (writable ? EPOLLOUT : 0), .data.fd = fd};
    epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event);
}

static void forget_stream(int fd) {
    for (int i = 0; i < stream_count; i++)
        if (streams[i] == fd) {
            streams[i] = streams[--stream_count];
            return;
        }
}

static void drop(int fd) {
    Connection *c = connections[fd];
    if (!c) return;
    forget_stream(fd);
    free(c->in);
    free(c->out);
    free(c);
    connections[fd] = NULL;
    close(fd);
}

enum Sent { LOST = -1, KEPT_BACK = 0, SENT = 1 };

static enum Sent put(int fd, const char *data, size_t length) {
    Connection *c = connections[fd];
    size_t done = 0;
    if (c->out_begin == c->out_end) {
        ssize_t n = send(fd, data, length, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) {
            drop(fd);
            return LOST;
        }
        done = n < 0 ? 0 : (size_t)n;
        if (done == length) return SENT;
    }
    size_t rest = length - done;
    if (c->out_end + rest > c->out_room) {
        c->out_room = (c->out_end + rest) * 2;
        c->out = realloc(c->out, c->out_room);
    }
    memcpy(c->out + c->out_end, data + done, rest);
    c->out_end += rest;
    watch(fd, 1);
    return KEPT_BACK;
}

static enum Sent put_chunk(int fd, const char *delta, const char *more) {
    char event[600], chunk[700];
    int length = snprintf(event, sizeof event,
                          "data: {\"choices\":[{%s}],\"created\":1760000000,"
                          "\"id\":\"chatcmpl-0123456789abcdef0123456789abcdef\",\"model\":\"stub\","
                          "\"system_fingerprint\":\"b1234-abcdef0\",\"object\":\"chat.completion.chunk\"%s}\n\n",
                          delta, more);
    int total = snprintf(chunk, sizeof chunk, "%x\r\n%s\r\n", length, event);
    return put(fd, chunk, total);
}

static enum Sent put_token(int fd) {
    char delta[120];
    snprintf(delta, sizeof delta, "\"finish_reason\":null,\"index\":0,\"delta\":{\"content\":\"%lld\"}",
             (long long)now());
    return put_chunk(fd, delta, "");
}

static void end_stream(int fd) {
    if (put_chunk(fd, "\"finish_reason\":\"stop\",\"index\":0,\"delta\":{}",
                  ",\"usage\":{\"completion_tokens\":64,\"prompt_tokens\":12,\"total_tokens\":76}") == LOST ||
        put(fd, STREAM_END, sizeof STREAM_END - 1) == LOST)
        return;
    connections[fd]->streaming = 0;
    forget_stream(fd);
}

/* Send until the client's buffers are full; goes on when they are not. */
static void burst(int fd) {
    Connection *c = connections[fd];
    while (c->chunks_left > 0) {
        c->chunks_left--;
        if (put_token(fd) != SENT) return;
    }
    end_stream(fd);
}

static long field(const char *opening, const char *key, long otherwise) {
    const char *at = strstr(opening, key);
    return at ? atol(at + strlen(key)) : otherwise;
}

static void answer_post(int fd, const char *opening) {
    if (!strstr(opening, "\"stream\":true")) {
        put(fd, answer, answer_length);
        return;
    }
    Connection *c = connections[fd];
    c->streaming = 1;
    c->chunks_left = field(opening, "\"max_tokens\":", 64);
    c->interval = field(opening, "\"seed\":", 0) * 1000;
    if (put(fd, STREAM_HEAD, sizeof STREAM_HEAD - 1) == LOST) return;
    if (!c->interval) {
        burst(fd);
        return;
    }
    streams[stream_count++] = fd;
    c->chunks_left--;
    c->next = now() + c->interval;
    put_token(fd);
}

/* Answer the requests that are whole, one after the other. */
static void answer_requests(int fd) {
    Connection *c;
    while ((c = connections[fd]) && !c->streaming && c->in_length) {
        c->in[c->in_length] = 0;
        char *end = strstr(c->in, "\r\n\r\n");
        if (!end) return;
        char *told = strcasestr(c->in, "\r\ncontent-length:");
        size_t head = end + 4 - c->in;
        size_t total = head + (told && told < end ? strtoul(told + 17, NULL, 10) : 0);
        if (c->in_length < total) {
            if (c->in_room < total + 1) c->in = realloc(c->in, c->in_room = total + 1);
            return;
        }
        int get = !strncmp(c->in, "GET ", 4);
        char opening[OPENING + 1];
        size_t length = total - head < OPENING ? total - head : OPENING;
        memcpy(opening, c->in + head, length);
        opening[length] = 0;
        memmove(c->in, c->in + total, c->in_length - total);
        c->in_length -= total;
        if (get)
            put(fd, HEALTHY, sizeof HEALTHY - 1);
        else
            answer_post(fd, opening);
    }
}

static void accept_all(int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MAX_FD) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        connections[fd] = calloc(1, sizeof(Connection));
        connections[fd]->in = malloc(connections[fd]->in_room = FIRST_ROOM);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

static void write_rest(int fd) {
    Connection *c = connections[fd];
    ssize_t n = send(fd, c->out + c->out_begin, c->out_end - c->out_begin, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        drop(fd);
        return;
    }
    if (n > 0) c->out_begin += n;
    if (c->out_begin < c->out_end) return;
    c->out_begin = c->out_end = 0;
    watch(fd, 0);
    if (c->streaming && !c->interval)
        burst(fd);
    else
        answer_requests(fd);
}

static void read_more(int fd) {
    Connection *c = connections[fd];
    ssize_t n = recv(fd, c->in + c->in_length, c->in_room - 1 - c->in_length, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        drop(fd);
    } else if (n > 0) {
        c->in_length += n;
        answer_requests(fd);
    }
}

/* Send the chunks that are due; return the time of the next one, or -1. */
static int64_t send_due(void) {
    int64_t t = now(), earliest = -1;
    for (int i = 0; i < stream_count;) {
        int fd = streams[i], before = stream_count;
        Connection *c = connections[fd];
        if (c->next <= t) {
            if (c->chunks_left > 0) {
                c->chunks_left--;
                c->next += c->interval;
                put_token(fd);
            } else {
                end_stream(fd);
            }
            if (stream_count < before) continue; /* another stream has taken this place */
        }
        if (earliest < 0 || c->next < earliest) earliest = c->next;
        i++;
    }
    return earliest;
}

int main(int argc, char **argv) {
    int port = argc > 1 ? atoi(argv[1]) : 9100, one = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 4096)) {
        perror("bind");
        return 1;
    }
    answer_length = snprintf(answer, sizeof answer,
                             "HTTP/1.1 200 OK\r\nServer: stub\r\nContent-Type: application/json; charset=utf-8\r\n"
                             "Content-Length: %zu\r\n\r\n%s",
                             sizeof COMPLETION - 1, COMPLETION);
    poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[BATCH];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    fprintf(stderr, "stub: port %d\n", port);
    for (;;) {
        int64_t next = send_due(), wait = next - now();
        if (wait < 200000) wait = 200000; /* ns: chunks that are nearly due go out together */
        struct timespec timeout = {wait / 1000000000, wait % 1000000000};
        int count = epoll_pwait2(poller, events, BATCH, next < 0 ? NULL : &timeout, NULL);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                accept_all(listener);
                continue;
            }
            if (connections[fd] && (events[i].events & EPOLLOUT)) write_rest(fd);
            if (connections[fd] && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) read_more(fd);
        }
    }
}
