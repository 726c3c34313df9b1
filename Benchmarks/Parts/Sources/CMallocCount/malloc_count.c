/* SPDX-License-Identifier: Apache-2.0 */
#include "malloc_count.h"

#include <errno.h>
#include <stddef.h>

/* What glibc's own malloc family is called besides. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static unsigned long calls;

static void note(void)
{
	__atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
}

unsigned long malloc_count(void)
{
	return __atomic_load_n(&calls, __ATOMIC_RELAXED);
}

void *malloc(size_t size)
{
	note();
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	note();
	return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
	note();
	return __libc_realloc(memory, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	note();
	return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
	note();
	*memory = __libc_memalign(alignment, size);
	return *memory ? 0 : ENOMEM;
}
