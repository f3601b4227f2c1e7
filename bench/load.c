/* A load generator for OpenAI-style servers on this machine: one thread, epoll.
 *
 *   load -m requests -p PORT -c CLIENTS -d SECONDS [-b BYTES]    each client asks again at once
 *   load -m streams -p PORT -c CLIENTS -n CHUNKS -i MICROSECONDS [-r ROUNDS] [-R RAMP_MS]
 *   -M MODEL (default "stub")   -K KEY   -U PATH (default /v1/chat/completions)
 *
 * -b pads the request's body. -R spreads the first starts. The server is expected to be (behind) the stub,
 * whose chunks tell when they were sent. Prints one line of JSON; times are in microseconds.
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

enum { ROOM = 131072, MAX_CLIENTS = 4000, BATCH = 512 };
static const int64_t GIVE_UP = 120 * 1000000000LL;
static const char LAST_CHUNK[] = "\r\n0\r\n\r\n"; /* in JSON text nothing looks like it */

typedef enum { NEW, HEAD, BODY, OVER } Stage;

typedef struct {
    int fd, rounds;
    size_t length;
    Stage stage;
    int first_seen;
    int64_t asked, start;
    char *in;
    char tail[sizeof LAST_CHUNK - 1]; /* the last bytes that came */
} Client;

typedef struct {
    uint32_t *values; /* ns */
    size_t count, room;
} Times;

static int streaming, port = 9100, client_count = 1, chunks_wanted = 64, rounds = 1, ramp_ms, padding;
static long interval;
static double seconds = 3;
static const char *model = "stub", *key = "sk-x", *path = "/v1/chat/completions";

static char *request;
static size_t request_length;
static int poller, living;
static Times latencies, delays; /* of answers or first chunks; of every chunk */
static long finished, bad, chunks;
static char first_error[160];
static int64_t last_end;

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void note(Times *times, int64_t ns) {
    if (times->count == times->room) {
        times->room = times->room ? times->room * 2 : 65536;
        times->values = realloc(times->values, times->room * sizeof(uint32_t));
    }
    times->values[times->count++] = ns > UINT32_MAX ? UINT32_MAX : ns < 0 ? 0 : (uint32_t)ns;
}

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile(const Times *times, double q) {
    return times->count ? times->values[(size_t)(q * (times->count - 1))] / 1000.0 : -1;
}

static void end(Client *c) {
    close(c->fd);
    c->stage = OVER;
    living--;
}

static void fail(Client *c, const char *what) {
    if (!first_error[0]) snprintf(first_error, sizeof first_error, "%s: %.100s", what, c->length ? c->in : "");
    bad++;
    end(c);
}

static void ask(Client *c) {
    c->length = 0;
    c->first_seen = 0;
    memset(c->tail, 0, sizeof c->tail);
    c->stage = HEAD;
    c->asked = now();
    if (send(c->fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length) fail(c, "send");
}

static int open_client(Client *c) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    c->in = malloc(ROOM + 1);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->fd, (void *)&address, sizeof address)) {
        printf("{\"error\": \"connect: %s\"}\n", strerror(errno));
        return 0;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
    return 1;
}

static void keep_tail(Client *c, const char *data, size_t length) {
    size_t room = sizeof c->tail;
    if (length < room) {
        memmove(c->tail, c->tail + length, room - length);
        memcpy(c->tail + room - length, data, length);
    } else {
        memcpy(c->tail, data + length - room, room);
    }
}

static int ended(const Client *c) { return !memcmp(c->tail, LAST_CHUNK, sizeof c->tail); }

/* The end of the head, once it is whole and says 200. */
static char *end_of_head(Client *c) {
    char *head_end = strstr(c->in, "\r\n\r\n");
    if (!head_end) return NULL;
    if (strncmp(c->in, "HTTP/1.1 200", 12)) {
        fail(c, "status");
        return NULL;
    }
    return head_end + 4;
}

static void read_answer(Client *c, int64_t t, int64_t deadline) {
    char *body = end_of_head(c);
    if (!body) return;
    char *told = strcasestr(c->in, "\r\ncontent-length:");
    int whole = told && told < body ? c->length >= (size_t)(body - c->in) + strtoul(told + 17, NULL, 10)
                                    : ended(c);
    if (!whole) return;
    note(&latencies, t - c->asked);
    finished++;
    last_end = t;
    if (t < deadline)
        ask(c);
    else
        end(c);
}

static void read_line(Client *c, const char *line, const char *line_end, int64_t t) {
    static const char content[] = "\"content\":\"";
    if (strncmp(line, "data: {", 7)) return;
    chunks++;
    if (!c->first_seen) {
        c->first_seen = 1;
        note(&latencies, t - c->asked);
    }
    const char *sent = memmem(line, line_end - line, content, sizeof content - 1);
    if (!sent) return;
    char *after;
    int64_t at = strtoll(sent + sizeof content - 1, &after, 10);
    if (at && *after == '"') note(&delays, t - at); /* a proxy may cut an event in two with a chunk border */
}

static void read_stream(Client *c, int64_t t) {
    char *at = c->in, *newline;
    if (c->stage == HEAD) {
        if (!(at = end_of_head(c))) return;
        c->stage = BODY;
    }
    while ((newline = memchr(at, '\n', c->in + c->length - at))) {
        read_line(c, at, newline, t);
        at = newline + 1;
    }
    if (ended(c)) {
        finished++;
        last_end = t;
        if (++c->rounds < rounds)
            ask(c);
        else
            end(c);
        return;
    }
    size_t rest = c->in + c->length - at;
    memmove(c->in, at, rest);
    c->length = rest;
}

static void build_request(void) {
    char *fill = malloc(padding + 1);
    memset(fill, 'x', padding);
    fill[padding] = 0;
    char *body;
    int length = asprintf(&body,
                          "{\"model\":\"%s\",\"max_tokens\":%d,\"seed\":%ld,\"stream\":%s,\"temperature\":0.7,"
                          "\"messages\":[{\"role\":\"system\",\"content\":\"You are a helpful assistant.\"},"
                          "{\"role\":\"user\",\"content\":\"What is the capital of France?%s\"}]}",
                          model, chunks_wanted, interval, streaming ? "true" : "false", fill);
    request_length = asprintf(&request,
                              "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: OpenAI/Python 1.99.0\r\n"
                              "Accept: application/json\r\nContent-Type: application/json\r\n"
                              "Authorization: Bearer %s\r\nX-Stainless-Lang: python\r\n"
                              "X-Stainless-Async: false\r\nContent-Length: %d\r\n\r\n%s",
                              path, port, key, length, body);
}

static int parse_options(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "m:p:c:d:b:n:i:r:R:M:K:U:")) > 0) switch (option) {
            case 'm': streaming = !strcmp(optarg, "streams"); break;
            case 'p': port = atoi(optarg); break;
            case 'c': client_count = atoi(optarg); break;
            case 'd': seconds = atof(optarg); break;
            case 'b': padding = atoi(optarg); break;
            case 'n': chunks_wanted = atoi(optarg); break;
            case 'i': interval = atol(optarg); break;
            case 'r': rounds = atoi(optarg); break;
            case 'R': ramp_ms = atoi(optarg); break;
            case 'M': model = optarg; break;
            case 'K': key = optarg; break;
            case 'U': path = optarg; break;
            default: return 0;
        }
    return client_count <= MAX_CLIENTS && seconds <= 60;
}

static void run(Client *clients) {
    struct epoll_event events[BATCH];
    int64_t begin = now(), deadline = begin + (int64_t)(seconds * 1e9);
    int started = 0;
    for (int i = 0; i < client_count; i++) clients[i].start = begin + (int64_t)ramp_ms * 1000000 * i / client_count;
    living = client_count;
    last_end = begin;
    while (living) {
        int64_t t = now();
        if (t - begin > GIVE_UP) {
            snprintf(first_error, sizeof first_error, "%d clients without an end", living);
            bad += living;
            return;
        }
        while (started < client_count && clients[started].start <= t) ask(&clients[started++]);
        int count = epoll_wait(poller, events, BATCH, started < client_count ? 1 : 1000);
        for (int i = 0; i < count; i++) {
            Client *c = events[i].data.ptr;
            if (c->stage == OVER) continue;
            ssize_t n = recv(c->fd, c->in + c->length, ROOM - c->length, 0);
            if (n <= 0) {
                fail(c, "closed");
                continue;
            }
            keep_tail(c, c->in + c->length, n);
            c->length += n;
            c->in[c->length] = 0;
            if (streaming)
                read_stream(c, now());
            else
                read_answer(c, now(), deadline);
        }
    }
}

int main(int argc, char **argv) {
    if (!parse_options(argc, argv)) return 2;
    build_request();
    poller = epoll_create1(0);
    Client *clients = calloc(client_count, sizeof(Client));
    for (int i = 0; i < client_count; i++)
        if (!open_client(&clients[i])) return 1;
    int64_t begin = now();
    run(clients);
    double took = (last_end - begin) / 1e9;
    qsort(latencies.values, latencies.count, sizeof(uint32_t), ascending);
    qsort(delays.values, delays.count, sizeof(uint32_t), ascending);
    printf("{\"finished\": %ld, \"bad\": %ld, \"chunks\": %ld, \"seconds\": %.4f, "
           "\"first_p50\": %.1f, \"first_p99\": %.1f, \"first_max\": %.1f, "
           "\"delay_p50\": %.1f, \"delay_p99\": %.1f, \"delay_max\": %.1f}\n",
           finished, bad, chunks, took, percentile(&latencies, .5), percentile(&latencies, .99),
           percentile(&latencies, 1), percentile(&delays, .5), percentile(&delays, .99), percentile(&delays, 1));
    if (first_error[0]) fprintf(stderr, "%s\n", first_error);
    return bad != 0;
}
