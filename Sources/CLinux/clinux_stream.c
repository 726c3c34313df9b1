/* SPDX-License-Identifier: Apache-2.0 */
#include "clinux_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

const uint32_t clinux_epoll_edge = EPOLLET, clinux_epoll_peer_closed = EPOLLRDHUP,
	       clinux_epoll_exclusive = EPOLLEXCLUSIVE;
const int clinux_again = EAGAIN, clinux_in_progress = EINPROGRESS, clinux_interrupted = EINTR,
	  clinux_too_many_files = EMFILE;

static int mapped(const struct clinux_endpoint *endpoint)
{
	return endpoint->words[0] == 0 && endpoint->words[1] == 0 && endpoint->words[2] == htonl(0xffff);
}

static socklen_t to_sockaddr(const struct clinux_endpoint *endpoint, struct sockaddr_storage *storage)
{
	memset(storage, 0, sizeof(*storage));
	if (mapped(endpoint)) {
		struct sockaddr_in *v4 = (struct sockaddr_in *)storage;

		v4->sin_family = AF_INET;
		v4->sin_addr.s_addr = endpoint->words[3];
		v4->sin_port = htons(endpoint->port);
		return sizeof(*v4);
	}
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)storage;

	v6->sin6_family = AF_INET6;
	memcpy(&v6->sin6_addr, endpoint->words, sizeof(endpoint->words));
	v6->sin6_port = htons(endpoint->port);
	return sizeof(*v6);
}

static void from_sockaddr(const struct sockaddr_storage *storage, struct clinux_endpoint *endpoint)
{
	memset(endpoint, 0, sizeof(*endpoint));
	if (storage->ss_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)storage;

		endpoint->words[2] = htonl(0xffff);
		endpoint->words[3] = v4->sin_addr.s_addr;
		endpoint->port = ntohs(v4->sin_port);
	} else if (storage->ss_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)storage;

		memcpy(endpoint->words, &v6->sin6_addr, sizeof(endpoint->words));
		endpoint->port = ntohs(v6->sin6_port);
	}
}

long clinux_receive(int fd, void *memory, size_t count)
{
	ssize_t received = recv(fd, memory, count, 0);

	return received < 0 ? -errno : received;
}

long clinux_peek(int fd, void *memory, size_t count)
{
	ssize_t received = recv(fd, memory, count, MSG_PEEK | MSG_DONTWAIT);

	return received < 0 ? -errno : received;
}

long clinux_send(int fd, const void *memory, size_t count, int more)
{
	ssize_t sent = send(fd, memory, count, more ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL);

	return sent < 0 ? -errno : sent;
}

_Static_assert(sizeof(struct clinux_piece) == sizeof(struct iovec) &&
		       offsetof(struct clinux_piece, start) == offsetof(struct iovec, iov_base) &&
		       offsetof(struct clinux_piece, count) == offsetof(struct iovec, iov_len),
	       "a piece is a struct iovec");

long clinux_send_pieces(int fd, const struct clinux_piece *pieces, size_t count)
{
	struct msghdr message = { .msg_iov = (struct iovec *)(uintptr_t)pieces, .msg_iovlen = count };
	ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);

	return sent < 0 ? -errno : sent;
}

int clinux_accept(int fd, struct clinux_endpoint *peer)
{
	struct sockaddr_storage storage = { 0 };
	socklen_t size = sizeof(storage);
	int accepted = accept4(fd, (struct sockaddr *)&storage, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (accepted < 0)
		return -errno;
	from_sockaddr(&storage, peer);
	return accepted;
}

static int fail(int fd)
{
	int error = errno;

	close(fd);
	return -error;
}

static int stream_socket(const struct clinux_endpoint *endpoint)
{
	int one = 1;
	int fd = socket(mapped(endpoint) ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0)
		return fail(fd);
	return fd;
}

int clinux_connect(const struct clinux_endpoint *to, int *status)
{
	struct sockaddr_storage storage;
	socklen_t size = to_sockaddr(to, &storage);
	int fd = stream_socket(to);

	if (fd < 0)
		return fd;
	*status = connect(fd, (struct sockaddr *)&storage, size) == 0 ? 0 : -errno;
	if (*status != 0 && *status != -EINPROGRESS)
		return fail(fd);
	return fd;
}

int clinux_connect_socket(int fd, const struct clinux_endpoint *to)
{
	struct sockaddr_storage storage;
	socklen_t size = to_sockaddr(to, &storage);

	return connect(fd, (struct sockaddr *)&storage, size) == 0 ? 0 : -errno;
}

int clinux_listen(const struct clinux_endpoint *at, int backlog)
{
	struct sockaddr_storage storage;
	socklen_t size = to_sockaddr(at, &storage);
	int one = 1;
	int fd = stream_socket(at);

	if (fd < 0)
		return fd;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
	    bind(fd, (struct sockaddr *)&storage, size) != 0 || listen(fd, backlog) != 0)
		return fail(fd);
	return fd;
}

int clinux_local_endpoint(int fd, struct clinux_endpoint *local)
{
	struct sockaddr_storage storage = { 0 };
	socklen_t size = sizeof(storage);

	if (getsockname(fd, (struct sockaddr *)&storage, &size) != 0)
		return -errno;
	from_sockaddr(&storage, local);
	return 0;
}

int clinux_pending_error(int fd)
{
	int error = 0;
	socklen_t size = sizeof(error);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
		return -errno;
	return -error;
}

int clinux_no_delay(int fd)
{
	int one = 1;

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0)
		return 0;
	/* One of the machine, which delays nothing. */
	return errno == EOPNOTSUPP || errno == ENOPROTOOPT ? 0 : -errno;
}

int clinux_stream_pair(int *ends)
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0 ? 0 : -errno;
}

int clinux_non_blocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	if (flags & O_NONBLOCK)
		return 0;
	return fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 ? 0 : -errno;
}

int clinux_end_output(int fd)
{
	return shutdown(fd, SHUT_WR) == 0 ? 0 : -errno;
}

int clinux_end_listening(int fd)
{
	return shutdown(fd, SHUT_RDWR) == 0 ? 0 : -errno;
}

int clinux_close(int fd)
{
	return close(fd) == 0 ? 0 : -errno;
}

int clinux_reset(int fd)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 0 };

	/* If it fails the peer sees an end instead of a reset; the socket must go either way. */
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	return clinux_close(fd);
}

int clinux_event_create(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int clinux_event_signal(int fd)
{
	uint64_t one = 1;

	return write(fd, &one, sizeof(one)) == sizeof(one) ? 0 : -errno;
}

int clinux_event_clear(int fd)
{
	uint64_t value;

	return read(fd, &value, sizeof(value)) == sizeof(value) ? 0 : -errno;
}

static uint64_t nanoseconds(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

uint64_t clinux_monotonic(void)
{
	return nanoseconds(CLOCK_MONOTONIC);
}

uint64_t clinux_wall_clock(void)
{
	return nanoseconds(CLOCK_REALTIME);
}

struct start {
	void (*body)(void *);
	void *argument;
};

static void *run(void *memory)
{
	struct start start = *(struct start *)memory;

	free(memory);
	start.body(start.argument);
	return NULL;
}

int clinux_thread_start(void (*body)(void *), void *argument)
{
	struct start *start = malloc(sizeof(*start));
	pthread_attr_t attributes;
	sigset_t all, old;
	pthread_t thread;
	int status;

	if (!start)
		return -ENOMEM;
	*start = (struct start){ .body = body, .argument = argument };
	sigfillset(&all);
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	/* The new thread inherits the mask: a signal must never meet it. */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	status = pthread_create(&thread, &attributes, run, start);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attributes);
	if (status != 0)
		free(start);
	return -status;
}

int clinux_thread_yield_to_others(void)
{
	struct sched_param parameters = { .sched_priority = 0 };

	return sched_setscheduler(0, SCHED_IDLE, &parameters) == 0 ? 0 : -errno;
}
