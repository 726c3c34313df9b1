/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MALLOC_COUNT_H
#define MALLOC_COUNT_H

/*
 * Calls of malloc, calloc, realloc and aligned_alloc by this process so far, from every library: the program's own
 * definitions take the place of libc's, which they call.
 */
unsigned long malloc_count(void);

#endif
