/* SPDX-License-Identifier: Apache-2.0 */
/* nghttp2, whose header compression the tests compare ours with. The product does without it. */
#ifndef MESH_CNGHTTP2_SHIM_H
#define MESH_CNGHTTP2_SHIM_H

#include <nghttp2/nghttp2.h>

#endif
