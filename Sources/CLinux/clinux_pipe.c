/* SPDX-License-Identifier: Apache-2.0 */
#include "clinux_pipe.h"

#include <fcntl.h>
#include <unistd.h>

int clinux_pipe(int *ends)
{
	return pipe2(ends, O_CLOEXEC);
}
