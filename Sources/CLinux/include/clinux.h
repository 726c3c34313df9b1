/* SPDX-License-Identifier: Apache-2.0 */
/* System calls and macros that Swift cannot import; each says why it is C. */
#ifndef CLINUX_H
#define CLINUX_H
#endif /* CLINUX_H */
