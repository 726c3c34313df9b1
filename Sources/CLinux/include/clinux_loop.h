/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epoll, timerfd, signalfd and credentials of Unix sockets. All functions return
 * like the system call they wrap: -1 and errno on failure.
 */
#ifndef CLINUX_LOOP_H
#define CLINUX_LOOP_H

#include <stdint.h>

/* One ready descriptor. C: struct epoll_event holds a union and is packed on x86-64 only. */
struct clinux_ready {
	uint64_t token; /* as given to clinux_epoll_add */
	uint32_t events;
};

/* Bits of clinux_ready.events. */
extern const uint32_t clinux_epoll_in, clinux_epoll_out, clinux_epoll_hup, clinux_epoll_err;

int clinux_epoll_create(void);
int clinux_epoll_add(int epoll, int fd, uint32_t events, uint64_t token);
int clinux_epoll_modify(int epoll, int fd, uint32_t events, uint64_t token);
int clinux_epoll_delete(int epoll, int fd);
/* timeout in milliseconds, -1: none. At most 64 descriptors at a time. */
int clinux_epoll_wait(int epoll, struct clinux_ready *ready, int capacity, int timeout);

/* Less than a second. */
void clinux_sleep(int64_t nanoseconds);
/* How much later timers of the calling thread, and of those it makes, may fire: 50 us without it. */
int clinux_set_timer_slack(uint64_t nanoseconds);

/* A timer of CLOCK_MONOTONIC. C: <sys/timerfd.h> is not in Swift's Glibc module. */
int clinux_timer_create(void);
/* Sets the moment of expiry in nanoseconds of CLOCK_MONOTONIC; 0 stops the timer. */
int clinux_timer_set(int fd, uint64_t expiry);

/*
 * Blocks the signals in the calling thread and returns a descriptor that reads them.
 * C: <sys/signalfd.h> is not in Swift's Glibc module.
 */
int clinux_signals_create(const int *signals, int count);
/* The next signal; -1 and EAGAIN if there is none. */
int clinux_signals_read(int fd);

/* SO_PEERCRED: process, user and group that connected (or listens). C: struct ucred needs _GNU_SOURCE. */
int clinux_peer_credentials(int fd, int32_t *pid, uint32_t *uid, uint32_t *gid);

/*
 * SO_PEERGROUPS (Linux 4.13): supplementary groups of the peer when it connected. Returns how many; -1 and ERANGE if
 * there are more than capacity. C: absent from older headers.
 */
int clinux_peer_groups(int fd, uint32_t *groups, int capacity);

#endif /* CLINUX_LOOP_H */
