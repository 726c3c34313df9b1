/* SPDX-License-Identifier: Apache-2.0 */
/* nghttp2, and the size of its types as the protocol core counts on them. */
#ifndef MESH_CNGHTTP2_SHIM_H
#define MESH_CNGHTTP2_SHIM_H

#include <nghttp2/nghttp2.h>

/* Older ones treat a field value with leading whitespace as valid (RFC 9113 section 8.2.1). */
_Static_assert(NGHTTP2_VERSION_NUM >= 0x013300, "nghttp2 1.51 or newer is needed: Debian 12 has it, with its security updates");

#endif
