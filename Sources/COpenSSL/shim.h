/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL, and what of it is macros or typed stacks, which Swift cannot call. */
#ifndef MESH_COPENSSL_SHIM_H
#define MESH_COPENSSL_SHIM_H

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>

_Static_assert(OPENSSL_VERSION_NUMBER >= 0x30000000L, "OpenSSL 3.0 or newer is needed: Debian 12 has it");

/* TLS 1.3 alone, without what lets a connection go on with less than a whole handshake. */
static inline int mesh_ssl_ctx_restrict(SSL_CTX *context, long peer_chain_bytes)
{
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
					     SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_clear_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_LEGACY_SERVER_CONNECT);
	/* Of use during a handshake only: records of the application are not OpenSSL's. */
	SSL_CTX_clear_mode(context, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_max_cert_list(context, peer_chain_bytes);
	SSL_CTX_set_quiet_shutdown(context, 0);
	return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) &&
	       SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) && SSL_CTX_set_num_tickets(context, 0) &&
	       SSL_CTX_set_max_early_data(context, 0) && SSL_CTX_set_recv_max_early_data(context, 0);
}

static inline int mesh_ssl_ctx_set_groups(SSL_CTX *context, const char *list)
{
	return (int)SSL_CTX_set1_groups_list(context, list);
}

static inline int mesh_ssl_ctx_set_signatures(SSL_CTX *context, const char *list)
{
	return (int)SSL_CTX_set1_sigalgs_list(context, list);
}

static inline int mesh_ssl_ctx_add_chain(SSL_CTX *context, X509 *certificate)
{
	return (int)SSL_CTX_add1_chain_cert(context, certificate);
}

/* The session's own data, for callbacks. */
static inline int mesh_ssl_set_data(SSL *ssl, void *data) { return SSL_set_ex_data(ssl, 0, data); }
static inline void *mesh_ssl_data(const SSL *ssl) { return SSL_get_ex_data(ssl, 0); }

static inline SSL *mesh_store_ctx_ssl(X509_STORE_CTX *context)
{
	return (SSL *)X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx());
}

/*
 * SHA-256 of the certificates of a stack in DER, one after another, each of which says its own length. 0: there is no
 * memory.
 */
static inline int mesh_stack_sha256(const STACK_OF(X509) *stack, EVP_MD_CTX *digest, unsigned char result[32])
{
	unsigned char *der;
	int index, length, added;

	if (EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
		return 0;
	for (index = 0; index < sk_X509_num(stack); index++) {
		der = NULL;
		length = i2d_X509(sk_X509_value(stack, index), &der);
		if (length < 0)
			return 0;
		added = EVP_DigestUpdate(digest, der, (size_t)length);
		OPENSSL_free(der);
		if (added != 1)
			return 0;
	}
	return EVP_DigestFinal_ex(digest, result, NULL) == 1;
}

/* What an alert of the peer's says, in OpenSSL's words: a static string, or NULL. */
static inline const char *mesh_alert_reason(int alert)
{
	/* The texts come with the first SSL_CTX, which a process may not have made yet. */
	OPENSSL_init_ssl(OPENSSL_INIT_LOAD_SSL_STRINGS, NULL);
	return ERR_reason_error_string(ERR_PACK(ERR_LIB_SSL, 0, SSL_AD_REASON_OFFSET + alert));
}

/* The name of the key exchange's group: a static string, or NULL. */
static inline const char *mesh_ssl_group(SSL *ssl)
{
	return SSL_group_to_name(ssl, (int)SSL_get_negotiated_group(ssl));
}

static inline void mesh_bio_retry_read(BIO *bio) { BIO_set_retry_read(bio); }
static inline void mesh_bio_retry_write(BIO *bio) { BIO_set_retry_write(bio); }
static inline void mesh_bio_clear_retry(BIO *bio) { BIO_clear_retry_flags(bio); }

static inline STACK_OF(X509) *mesh_stack_new(void) { return sk_X509_new_null(); }
static inline int mesh_stack_count(const STACK_OF(X509) *stack) { return sk_X509_num(stack); }
static inline X509 *mesh_stack_at(const STACK_OF(X509) *stack, int index) { return sk_X509_value(stack, index); }
static inline void mesh_stack_free(STACK_OF(X509) *stack) { sk_X509_pop_free(stack, X509_free); }

/* Adds a reference of its own. */
static inline int mesh_stack_add(STACK_OF(X509) *stack, X509 *certificate)
{
	return X509_add_cert(stack, certificate, X509_ADD_FLAG_UP_REF);
}

/*
 * The subject alternative names, to be freed; NULL if there are none. *found is -1 if there is no such extension, -2 if
 * there are several, 0 or more if it is there once: NULL then means that it cannot be read.
 */
static inline GENERAL_NAMES *mesh_x509_names(const X509 *certificate, int *found)
{
	return (GENERAL_NAMES *)X509_get_ext_d2i(certificate, NID_subject_alt_name, found, NULL);
}

static inline int mesh_names_count(const GENERAL_NAMES *names) { return sk_GENERAL_NAME_num(names); }

/* The text of a name if it is a URI, else NULL. */
static inline const ASN1_IA5STRING *mesh_names_uri(const GENERAL_NAMES *names, int index)
{
	const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, index);

	return name->type == GEN_URI ? name->d.uniformResourceIdentifier : NULL;
}

/* Adds an extension, written as in x509v3_config(5). */
static inline int mesh_x509_add_extension(X509 *certificate, X509 *issuer, int kind, const char *value)
{
	X509_EXTENSION *extension;
	X509V3_CTX context;
	int added;

	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	X509V3_set_ctx_nodb(&context);
	extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
	if (!extension)
		return 0;
	added = X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
	return added;
}

static inline EVP_PKEY *mesh_key_new_p256(void) { return EVP_EC_gen("P-256"); }

/* Whether a key is for ECDSA on P-256, by the name of its group: OpenSSL has two for it. */
static inline int mesh_key_is_p256(const EVP_PKEY *key)
{
	char name[32];
	size_t length;

	return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
	       EVP_PKEY_get_group_name(key, name, sizeof(name), &length) == 1 &&
	       (!strcmp(name, "prime256v1") || !strcmp(name, "P-256"));
}

static inline void mesh_free(void *memory) { OPENSSL_free(memory); }
static inline void mesh_wipe_free(void *memory, size_t bytes) { OPENSSL_clear_free(memory, bytes); }

#endif
