/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The few kernel structures that the programs read, relocated at load time
 * (CO-RE): a build needs no BTF of its machine and no generated header.
 * Only the fields that are used are declared; order and offsets do not matter.
 */
#ifndef MESH_KERNEL_H
#define MESH_KERNEL_H

#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <stdbool.h>
#include <stddef.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

#include "mesh_abi.h"

/* Constants of <sys/socket.h>, <netinet/tcp.h> and <errno.h>, which cannot be included here. */
#define AF_INET 2
#define AF_INET6 10
#define SOCK_RAW 3
#define SOL_SOCKET 1
#define SOCK_DGRAM 2
#define SOL_IP 0
#define SOL_IPV6 41
#define IP_FREEBIND 15
#define IPV6_FREEBIND 78
#define SOL_TCP 6
#define SO_RCVLOWAT 18
#define SOCK_RCVBUF_LOCK 2
#define SO_ZEROCOPY 60
#define TCP_ULP 31
#define RCV_SHUTDOWN 1
#define EPERM 1
#define ENOENT 2
#define EINVAL 22
#define EOPNOTSUPP 95
#define ECONNREFUSED 111
#define PAGE_SIZE 4096

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sock_common {
	unsigned char skc_state;
	unsigned long skc_flags;
	struct {
		__s64 counter;
	} skc_cookie;
};

struct sock {
	struct sock_common __sk_common;
	struct {
		struct {
			int counter;
		} rmem_alloc;
	} sk_backlog;
	struct {
		int owned;
	} sk_lock;
	int sk_rcvlowat;
	int sk_rcvbuf;
	int sk_sndbuf;
	unsigned char sk_userlocks : 4;
	unsigned char sk_shutdown;
	int sk_err;
	void *sk_user_data;
};

struct inet_sock {
	struct sock sk;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 write_seq;
	__u32 snd_una;
	__u32 rcv_nxt;
	__u32 copied_seq;
	__u32 srtt_us;
	__u32 total_retrans;
	__u64 bytes_sent;
	__u64 bytes_retrans;
	__u64 bytes_received;
	_Bool is_mptcp;
};

struct list_head {
	struct list_head *next, *prev;
};

struct sk_psock {
	struct list_head ingress_msg;
	struct {
		struct {
			int counter;
		} refs;
	} refcnt;
};

enum sock_flags {
	/* the kernel's own values are read by bpf_core_enum_value */
	SOCK_ZEROCOPY = 0,
	SOCK_DONE = 1,
};

#pragma clang attribute pop

#define barrier() asm volatile("" ::: "memory")
#define READ_ONCE(x) (*(volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) ((*(volatile typeof(x) *)&(x)) = (v))

#endif /* MESH_KERNEL_H */
