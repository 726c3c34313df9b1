/* SPDX-License-Identifier: Apache-2.0 */
/* Counts what reaches malloc. In C, because it takes the place of malloc and its kin in this program. */
#ifndef CCOUNT_H
#define CCOUNT_H

/* Calls of malloc, calloc, realloc, aligned_alloc and posix_memalign since the program began. One thread. */
unsigned long count_allocations(void);

#endif /* CCOUNT_H */
