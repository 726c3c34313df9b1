/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLINUX_PIPE_H
#define CLINUX_PIPE_H

/* pipe2(2) with O_CLOEXEC: ends[0] reads, ends[1] writes. C: <unistd.h> hides it without _GNU_SOURCE. */
int clinux_pipe(int *ends);

#endif /* CLINUX_PIPE_H */
