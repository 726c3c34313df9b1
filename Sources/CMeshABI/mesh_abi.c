/* SPDX-License-Identifier: Apache-2.0 */
/* Compiles the size assertions of the header for the host. */
#include "mesh_abi.h"
