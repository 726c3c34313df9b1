/* SPDX-License-Identifier: Apache-2.0 */
#include "clinux_loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define READY_MAX 64

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

const uint32_t clinux_epoll_in = EPOLLIN, clinux_epoll_out = EPOLLOUT, clinux_epoll_hup = EPOLLHUP,
	       clinux_epoll_err = EPOLLERR;

int clinux_epoll_create(void)
{
	return epoll_create1(EPOLL_CLOEXEC);
}

static int control(int epoll, int operation, int fd, uint32_t events, uint64_t token)
{
	struct epoll_event event = { .events = events, .data.u64 = token };

	return epoll_ctl(epoll, operation, fd, &event);
}

int clinux_epoll_add(int epoll, int fd, uint32_t events, uint64_t token)
{
	return control(epoll, EPOLL_CTL_ADD, fd, events, token);
}

int clinux_epoll_modify(int epoll, int fd, uint32_t events, uint64_t token)
{
	return control(epoll, EPOLL_CTL_MOD, fd, events, token);
}

int clinux_epoll_delete(int epoll, int fd)
{
	return control(epoll, EPOLL_CTL_DEL, fd, 0, 0);
}

int clinux_epoll_wait(int epoll, struct clinux_ready *ready, int capacity, int timeout)
{
	struct epoll_event events[READY_MAX];
	int count = epoll_wait(epoll, events, capacity < READY_MAX ? capacity : READY_MAX, timeout);

	for (int i = 0; i < count; i++)
		ready[i] = (struct clinux_ready){ .token = events[i].data.u64, .events = events[i].events };
	return count;
}

void clinux_sleep(int64_t nanoseconds)
{
	struct timespec time = { .tv_nsec = nanoseconds };

	clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

int clinux_set_timer_slack(uint64_t nanoseconds)
{
	return prctl(PR_SET_TIMERSLACK, nanoseconds, 0, 0, 0);
}

int clinux_timer_create(void)
{
	return timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
}

int clinux_timer_set(int fd, uint64_t expiry)
{
	struct itimerspec when = {
		.it_value = { .tv_sec = expiry / 1000000000, .tv_nsec = expiry % 1000000000 },
	};

	return timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL);
}

int clinux_signals_create(const int *signals, int count)
{
	sigset_t set;
	int error;

	sigemptyset(&set);
	for (int i = 0; i < count; i++) {
		if (sigaddset(&set, signals[i]) != 0)
			return -1;
	}
	error = pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (error != 0) {
		errno = error;
		return -1;
	}
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int clinux_signals_read(int fd)
{
	struct signalfd_siginfo info;
	ssize_t count = read(fd, &info, sizeof(info));

	return count == sizeof(info) ? (int)info.ssi_signo : -1;
}

int clinux_peer_credentials(int fd, int32_t *pid, uint32_t *uid, uint32_t *gid)
{
	struct ucred credentials;
	socklen_t size = sizeof(credentials);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
		return -1;
	*pid = credentials.pid;
	*uid = credentials.uid;
	*gid = credentials.gid;
	return 0;
}

int clinux_peer_groups(int fd, uint32_t *groups, int capacity)
{
	socklen_t size = (socklen_t)capacity * sizeof(*groups);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) != 0)
		return -1;
	return (int)(size / sizeof(*groups));
}
