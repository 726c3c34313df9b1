/* SPDX-License-Identifier: Apache-2.0 */
/* What Swift's Glibc module leaves out; each function says why it is C. */
#ifndef CLOAD_H
#define CLOAD_H

#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/timerfd.h>

/* sched_setaffinity is declared for _GNU_SOURCE only. Returns 0, or -1 with errno. */
int load_pin_to_cpu(int cpu);

/* memfd_create is declared for _GNU_SOURCE only. Returns a descriptor, or -1 with errno. */
int load_memory_file(const char *name);

#endif /* CLOAD_H */
