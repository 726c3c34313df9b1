/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MESH_GCM_H
#define MESH_GCM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * AES-GCM (NIST SP 800-38D) of intel-ipsec-mb, "Intel Multi-Buffer Crypto for IPsec", a library of x86-64. It is loaded when
 * it is asked for: a program runs without it. Vectors have 12 bytes, tags 16.
 *
 * C: the library's functions are members of a struct that, as a state, only its header knows.
 */
struct mesh_gcm_library;

/* Whether the processor does four blocks at a time: AVX-512 with VAES and VPCLMULQDQ, and the system lets it. */
bool mesh_gcm_processor_is_wide(void);

/* The library, with the functions for this processor, for as long as the process lives. To be called once.
 * Returns NULL and the reason in `why`, of static storage, if it cannot be had, and in `is_missing` whether because it is not
 * installed. */
const struct mesh_gcm_library *mesh_gcm_load(const char **why, bool *is_missing);

/* Whether its functions do four blocks at a time here. */
bool mesh_gcm_is_wide(const struct mesh_gcm_library *library);

/* As the library says it: "1.3.0". */
const char *mesh_gcm_version(const struct mesh_gcm_library *library);

/* Of a state: a key, made ready, and what one message needs. Whoever frees it wipes it before. */
size_t mesh_gcm_state_bytes(void);
size_t mesh_gcm_state_alignment(void);

/* key: 16 bytes, or 32 if `is_256`. */
void mesh_gcm_set_key(const struct mesh_gcm_library *library, void *state, const uint8_t *key, bool is_256);

struct mesh_gcm_message {
	const uint8_t *vector;
	/* Authenticated, not encrypted. */
	const uint8_t *header;
	size_t header_bytes;
};

/* Encrypts `count` bytes of `content`, then the byte `last`, to `out`, and the tag after them: count + 17 bytes, of which
 * none is `content`. */
void mesh_gcm_seal(void *state, const struct mesh_gcm_message *message, const uint8_t *content, size_t count, uint8_t last,
		   uint8_t *out);

/* Decrypts `count` bytes of `body` to `out`, and one more to `last`, and says what their tag has to be. `out` overlaps none of
 * them, or is `body`; the last one is then decrypted in its place too. */
void mesh_gcm_open(void *state, const struct mesh_gcm_message *message, const uint8_t *body, size_t count, uint8_t *out,
		   uint8_t *last, uint8_t *tag);

#endif /* MESH_GCM_H */
