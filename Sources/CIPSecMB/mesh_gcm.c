/* SPDX-License-Identifier: Apache-2.0 */
#include "mesh_gcm.h"

bool mesh_gcm_processor_is_wide(void)
{
#ifdef __x86_64__
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
	       __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("vaes") &&
	       __builtin_cpu_supports("vpclmulqdq");
#else
	return false;
#endif
}

#if defined(__x86_64__) && __has_include(<intel-ipsec-mb.h>)
#include <intel-ipsec-mb.h>
/* Its test of itself is since 1.3. In another minor version states may have another size and managers other members; in another
 * major one the library has another name. */
#if IMB_VERSION_NUM >= IMB_VERSION(1, 3, 0) && IMB_VERSION_NUM < IMB_VERSION(2, 0, 0)
#define LIBRARY_NAME "libIPSec_MB.so.1"
#endif
#endif

#ifdef LIBRARY_NAME

#include <dlfcn.h>
#include <stdalign.h>
#include <string.h>

enum {
	TAG_BYTES = 16,
	/*
	 * Longest content that is copied beside its last byte, so that one call does all. In this version each call stores to a
	 * word of the library's that all threads share: of short records, of which a thread makes millions in a second, four
	 * stores are most of the cost as soon as another thread makes some too.
	 */
	MOST_COPIED = 4096
};

struct functions {
	aes_gcm_pre_t set_key;
	aes_gcm_enc_dec_t seal, open;
	aes_gcm_init_t begin;
	aes_gcm_enc_dec_update_t encrypt, decrypt;
	aes_gcm_enc_dec_finalize_t end_encrypting, end_decrypting;
};

struct mesh_gcm_library {
	struct functions of_128, of_256;
	const char *version;
	bool is_wide;
};

struct state {
	/* The header aligns it only where LINUX is defined, as the library's own build does. */
	alignas(64) struct gcm_key_data key;
	struct gcm_context_data context;
	const struct functions *functions;
};

static struct mesh_gcm_library loaded;

/* The functions for this processor. The manager is for work that is handed in; it is not needed after this. */
static const char *take_functions(void *handle)
{
	IMB_MGR *(*make)(uint64_t) = (IMB_MGR * (*)(uint64_t)) dlsym(handle, "alloc_mb_mgr");
	void (*prepare)(IMB_MGR *, IMB_ARCH *) = (void (*)(IMB_MGR *, IMB_ARCH *))dlsym(handle, "init_mb_mgr_auto");
	void (*destroy)(IMB_MGR *) = (void (*)(IMB_MGR *))dlsym(handle, "free_mb_mgr");
	if (!make || !prepare || !destroy)
		return LIBRARY_NAME " is not what it should be: a function is missing";
	IMB_MGR *manager = make(0);
	if (!manager)
		return "there is no memory";
	prepare(manager, NULL);
	const uint64_t tested = IMB_FEATURE_SELF_TEST | IMB_FEATURE_SELF_TEST_PASS;
	const char *why = NULL;
	if (!manager->gcm128_pre || !manager->gcm256_pre) {
		why = "the processor has no AES instructions";
	} else if ((manager->features & tested) != tested) {
		why = "the library's test of itself has failed";
	} else {
		/* By these it chooses its functions. */
		loaded.is_wide = (manager->features & IMB_CPUFLAGS_AVX512_T2) == IMB_CPUFLAGS_AVX512_T2;
		loaded.of_128 = (struct functions){ manager->gcm128_pre,	  manager->gcm128_enc,
						    manager->gcm128_dec,	  manager->gcm128_init,
						    manager->gcm128_enc_update,	  manager->gcm128_dec_update,
						    manager->gcm128_enc_finalize, manager->gcm128_dec_finalize };
		loaded.of_256 = (struct functions){ manager->gcm256_pre,	  manager->gcm256_enc,
						    manager->gcm256_dec,	  manager->gcm256_init,
						    manager->gcm256_enc_update,	  manager->gcm256_dec_update,
						    manager->gcm256_enc_finalize, manager->gcm256_dec_finalize };
	}
	destroy(manager);
	return why;
}

const struct mesh_gcm_library *mesh_gcm_load(const char **why, bool *is_missing)
{
	*is_missing = false;
	void *handle = dlopen(LIBRARY_NAME, RTLD_NOW | RTLD_LOCAL);
	if (!handle) {
		*why = LIBRARY_NAME " cannot be loaded";
		*is_missing = true;
		return NULL;
	}
	unsigned (*number)(void) = (unsigned (*)(void))dlsym(handle, "imb_get_version");
	const char *(*text)(void) = (const char *(*)(void))dlsym(handle, "imb_get_version_str");
	if (!number || !text || number() >> 8 != IMB_VERSION_NUM >> 8)
		*why = LIBRARY_NAME " is not of version " IMB_VERSION_STR;
	else
		*why = take_functions(handle);
	if (*why) {
		dlclose(handle);
		return NULL;
	}
	loaded.version = text();
	return &loaded;
}

bool mesh_gcm_is_wide(const struct mesh_gcm_library *library)
{
	return library->is_wide;
}

const char *mesh_gcm_version(const struct mesh_gcm_library *library)
{
	return library->version;
}

size_t mesh_gcm_state_bytes(void)
{
	return sizeof(struct state);
}

size_t mesh_gcm_state_alignment(void)
{
	return alignof(struct state);
}

void mesh_gcm_set_key(const struct mesh_gcm_library *library, void *memory, const uint8_t *key, bool is_256)
{
	struct state *state = memory;
	state->functions = is_256 ? &library->of_256 : &library->of_128;
	state->functions->set_key(key, &state->key);
}

void mesh_gcm_seal(void *memory, const struct mesh_gcm_message *message, const uint8_t *content, size_t count, uint8_t last,
		   uint8_t *out)
{
	struct state *state = memory;
	const struct functions *functions = state->functions;
	if (count <= MOST_COPIED) {
		if (count)
			memcpy(out, content, count);
		out[count] = last;
		functions->seal(&state->key, &state->context, out, out, count + 1, message->vector, message->header,
				message->header_bytes, out + count + 1, TAG_BYTES);
		return;
	}
	functions->begin(&state->key, &state->context, message->vector, message->header, message->header_bytes);
	functions->encrypt(&state->key, &state->context, out, content, count);
	functions->encrypt(&state->key, &state->context, out + count, &last, 1);
	functions->end_encrypting(&state->key, &state->context, out + count + 1, TAG_BYTES);
}

void mesh_gcm_open(void *memory, const struct mesh_gcm_message *message, const uint8_t *body, size_t count, uint8_t *out,
		   uint8_t *last, uint8_t *tag)
{
	struct state *state = memory;
	const struct functions *functions = state->functions;
	if (out == body) {
		functions->open(&state->key, &state->context, out, body, count + 1, message->vector, message->header,
				message->header_bytes, tag, TAG_BYTES);
		*last = out[count];
		return;
	}
	functions->begin(&state->key, &state->context, message->vector, message->header, message->header_bytes);
	if (count)
		functions->decrypt(&state->key, &state->context, out, body, count);
	functions->decrypt(&state->key, &state->context, last, body + count, 1);
	functions->end_decrypting(&state->key, &state->context, tag, TAG_BYTES);
}

#else

/* Without the library nobody gets one: the rest is never called. */
const struct mesh_gcm_library *mesh_gcm_load(const char **why, bool *is_missing)
{
	*is_missing = false;
	*why = "the program was built without intel-ipsec-mb";
	return NULL;
}

bool mesh_gcm_is_wide(const struct mesh_gcm_library *library)
{
	(void)library;
	return false;
}

const char *mesh_gcm_version(const struct mesh_gcm_library *library)
{
	(void)library;
	return "";
}

size_t mesh_gcm_state_bytes(void)
{
	return 0;
}

size_t mesh_gcm_state_alignment(void)
{
	return 1;
}

void mesh_gcm_set_key(const struct mesh_gcm_library *library, void *state, const uint8_t *key, bool is_256)
{
	(void)library, (void)state, (void)key, (void)is_256;
	__builtin_trap();
}

void mesh_gcm_seal(void *state, const struct mesh_gcm_message *message, const uint8_t *content, size_t count, uint8_t last,
		   uint8_t *out)
{
	(void)state, (void)message, (void)content, (void)count, (void)last, (void)out;
	__builtin_trap();
}

void mesh_gcm_open(void *state, const struct mesh_gcm_message *message, const uint8_t *body, size_t count, uint8_t *out,
		   uint8_t *last, uint8_t *tag)
{
	(void)state, (void)message, (void)body, (void)count, (void)out, (void)last, (void)tag;
	__builtin_trap();
}

#endif
