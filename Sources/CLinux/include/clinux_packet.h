/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets of SOCK_SEQPACKET with descriptors beside the bytes (unix(7), SCM_RIGHTS), and sealed memory files.
 * C, because Swift imports neither the CMSG macros nor what needs _GNU_SOURCE. All functions return like the system
 * call they wrap: -1 and errno on failure.
 */
#ifndef CLINUX_PACKET_H
#define CLINUX_PACKET_H

#include <stddef.h>
#include <stdint.h>

/* Most descriptors that clinux_packet_send and clinux_packet_receive carry; the kernel's own limit is 253 (SCM_MAX_FD). */
#define CLINUX_PACKET_DESCRIPTORS 16

/* Bits of *truncated of clinux_packet_receive. */
#define CLINUX_TRUNCATED_DATA 1
#define CLINUX_TRUNCATED_CONTROL 2

/* A connected pair, close-on-exec, non-blocking. */
int clinux_packet_pair(int *ends);

/* Sends one packet; never raises SIGPIPE. count of descriptors: 0 to CLINUX_PACKET_DESCRIPTORS. */
long clinux_packet_send(int fd, const void *bytes, size_t length, const int *descriptors, int count);

/*
 * Receives one packet. *count: descriptors that came, all close-on-exec, in descriptors, which has room for
 * CLINUX_PACKET_DESCRIPTORS; the caller owns them whatever *truncated says.
 */
long clinux_packet_receive(int fd, void *bytes, size_t capacity, int *descriptors, int *count, int *truncated);

/* memfd_create(2) with MFD_CLOEXEC | MFD_ALLOW_SEALING. */
int clinux_memory_create(const char *name);
/* Adds F_SEAL_SHRINK, GROW, WRITE and SEAL. */
int clinux_memory_seal(int fd);
/* 1 if all of those seals are set, 0 if not; -1 and EINVAL if fd is no file that can be sealed. */
int clinux_memory_is_sealed(int fd);

#endif /* CLINUX_PACKET_H */
