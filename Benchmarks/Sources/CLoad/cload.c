/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "cload.h"

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>

int load_pin_to_cpu(int cpu)
{
	cpu_set_t set;

	if (cpu < 0 || cpu >= CPU_SETSIZE) {
		errno = EINVAL;
		return -1;
	}
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

int load_memory_file(const char *name)
{
	return memfd_create(name, MFD_CLOEXEC);
}
