/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stream sockets for a loop that is never blocked. Everything returns what the system call returns, or -errno, so that
 * the caller needs no errno. C: struct linger and struct sockaddr need casts that Swift cannot make.
 */
#ifndef CLINUX_STREAM_H
#define CLINUX_STREAM_H

#include <stddef.h>
#include <stdint.h>

/* Further bits of clinux_ready.events, EPOLLET and EPOLLEXCLUSIVE. */
extern const uint32_t clinux_epoll_edge, clinux_epoll_peer_closed, clinux_epoll_exclusive;

/* The errno values that a loop decides by. */
extern const int clinux_again, clinux_in_progress, clinux_interrupted, clinux_too_many_files;

/* An address and a port; IPv4 as ::ffff:a.b.c.d. words: as in memory, network byte order. port: host byte order. */
struct clinux_endpoint {
	uint32_t words[4];
	uint16_t port;
};

long clinux_receive(int fd, void *memory, size_t count);
/* MSG_PEEK: what is received stays to be received. */
long clinux_peek(int fd, void *memory, size_t count);
/* MSG_NOSIGNAL, and MSG_MORE if more is not 0. */
long clinux_send(int fd, const void *memory, size_t count, int more);

/* struct iovec with memory that is only read. */
struct clinux_piece {
	const void *start;
	size_t count;
};

/* MSG_NOSIGNAL; count: at most UIO_MAXIOV pieces, of which all are sent or those in front. */
long clinux_send_pieces(int fd, const struct clinux_piece *pieces, size_t count);

/* Non-blocking, close-on-exec. peer is set. */
int clinux_accept(int fd, struct clinux_endpoint *peer);
/* Non-blocking, close-on-exec, TCP_NODELAY, in the calling thread's namespace. 0 or -EINPROGRESS in *status. */
int clinux_connect(const struct clinux_endpoint *to, int *status);
/* Of a socket that was made elsewhere. 0, -EINPROGRESS or another -errno. */
int clinux_connect_socket(int fd, const struct clinux_endpoint *to);
/* Non-blocking, close-on-exec; accepted sockets inherit its TCP_NODELAY. Port 0: the kernel chooses. */
int clinux_listen(const struct clinux_endpoint *at, int backlog);

/* The address that the socket is bound to. */
int clinux_local_endpoint(int fd, struct clinux_endpoint *local);
/* SO_ERROR, negated; it is cleared. */
int clinux_pending_error(int fd);
int clinux_no_delay(int fd);
/* Two connected ends, non-blocking, close-on-exec. 0 or -errno. */
int clinux_stream_pair(int *ends);
int clinux_non_blocking(int fd);
/* SHUT_WR: the peer reads the end of the stream. */
int clinux_end_output(int fd);
/* Of a listening socket, which then listens no more in any process that has it. */
int clinux_end_listening(int fd);
int clinux_close(int fd);
/* SO_LINGER with 0, then close: the peer sees a reset, not an end (tcp(7)). */
int clinux_reset(int fd);

/* eventfd(2), non-blocking. */
int clinux_event_create(void);
int clinux_event_signal(int fd);
int clinux_event_clear(int fd);

/* CLOCK_MONOTONIC and CLOCK_REALTIME in nanoseconds. */
uint64_t clinux_monotonic(void);
uint64_t clinux_wall_clock(void);

/* Starts a detached thread with all signals blocked. 0 or -errno. */
int clinux_thread_start(void (*body)(void *), void *argument);

/* The calling thread runs when no other wants its processor (SCHED_IDLE). 0 or -errno. */
int clinux_thread_yield_to_others(void);

#endif /* CLINUX_STREAM_H */
