/* SPDX-License-Identifier: Apache-2.0 */
/* nghttp2, and the size of its types as the protocol core counts on them. */
#ifndef MESH_CNGHTTP2_SHIM_H
#define MESH_CNGHTTP2_SHIM_H

#include <nghttp2/nghttp2.h>

/* Older ones treat a field value with leading whitespace as valid (RFC 9113 section 8.2.1). */
_Static_assert(NGHTTP2_VERSION_NUM >= 0x013300, "nghttp2 1.51 or newer is needed: Debian 12 has it, with its security updates");

/* Versions before the fix of CVE-2024-28182 lack it, and the check. */
NGHTTP2_EXTERN void nghttp2_option_set_max_continuations(nghttp2_option *option, size_t count) __attribute__((weak));

/*
 * Takes nghttp2's own limit of CONTINUATION frames out of the way: it counts the pieces in which their headers arrive,
 * so that a frame that comes byte by byte would be refused. HTTP2FrameScanner counts frames.
 */
static inline void mesh_nghttp2_leave_continuations_to_us(nghttp2_option *option)
{
	if (nghttp2_option_set_max_continuations)
		nghttp2_option_set_max_continuations(option, (size_t)1 << 24);
}

#endif
