/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One OpenSSH public key: "TYPE BASE64 [COMMENT]", no options, a trailing CR or LF tolerated. What is kept is the
 * decoded blob, whose own type and lengths must agree (RFC 4253 section 6.6, RFC 5656, RFC 8709, PROTOCOL.u2f); a line
 * that is written is made from the blob again, so nothing that was pasted reaches a file.
 */
#pragma once

#include <stddef.h>

#include "lib/buffer.h"
#include "lib/code.h"
#include "lib/manifest.h"

#define SSHKEY_LINE_MAX 16384u /* as FIELD_KEY_MAX; an RSA key of 16,384 bits has 2.8 KiB */
#define SSHKEY_COMMENT_MAX 256u
#define SSHKEY_RSA_BITS_MAX 16384u  /* OpenSSH's own limit */
#define SSHKEY_FINGERPRINT_SIZE 51u /* "SHA256:", 43 characters, NUL */
#define SSHKEY_DIGEST_SIZE 32u
#define SSHKEY_MARK "latchkey:" /* begins the last word of a line of ours */

enum sshkey_family {
	SSHKEY_ED25519,
	SSHKEY_ECDSA,
	SSHKEY_RSA,
	SSHKEY_SK, /* ed25519 or ecdsa on a security key */
};

struct sshkey {
	enum sshkey_family family;
	const char *type;    /* static: "ssh-ed25519" */
	unsigned char *blob; /* owned */
	size_t blob_size;
	char *comment; /* owned, "" when there is none; printable ASCII without our mark */
	unsigned bits;
};

/*
 * OK and the key, or KEY_INVALID, KEY_IS_PRIVATE, KEY_FORMAT (a key in another format), KEY_TYPE (a type not accepted,
 * certificates included) with a sentence that says what it is and what to do; never a byte of what was pasted.
 * INTERNAL when memory is short.
 */
enum code sshkey_parse(const char *text, size_t size, struct sshkey *ret_key, char ret_detail[DETAIL_MAX + 1]);
/* Checks a blob alone, as sshkey_parse does: OK, KEY_INVALID or KEY_TYPE; the outputs may be NULL. */
enum code sshkey_check_blob(const unsigned char *blob, size_t size, enum sshkey_family *ret_family,
	const char **ret_type, unsigned *ret_bits);
/* Whether sshd takes a line that begins with that name for one with a key of that type. */
bool sshkey_is_named(const char *name, size_t name_size, const char *type, size_t type_size);
void sshkey_free(struct sshkey *key);
#define cleanup_sshkey CLEANUP(sshkey_free)
/* "ed25519", "ecdsa", "rsa", "sk": the words of the policy's `types`. */
const char *sshkey_family_name(enum sshkey_family family);
/* Appends "TYPE BASE64", made from the blob, without comment. */
void sshkey_append(const struct sshkey *key, struct buffer *buffer);
/* "SHA256:…" unpadded, as ssh-keygen -l prints it. */
void sshkey_fingerprint(const unsigned char *blob, size_t size, char ret_text[SSHKEY_FINGERPRINT_SIZE]);
/* The same in two steps, by the SHA-256 alone; reading is strict: -EINVAL. */
void sshkey_digest(const unsigned char *blob, size_t size, unsigned char ret_digest[SSHKEY_DIGEST_SIZE]);
void sshkey_fingerprint_of_digest(
	const unsigned char digest[SSHKEY_DIGEST_SIZE], char ret_text[SSHKEY_FINGERPRINT_SIZE]);
int sshkey_read_fingerprint(const char *text, unsigned char ret_digest[SSHKEY_DIGEST_SIZE]) MUST_CHECK;
