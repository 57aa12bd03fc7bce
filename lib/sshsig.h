/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SSH signatures (OpenSSH, PROTOCOL.sshsig), narrowed: version 1, sha512, ssh-ed25519 or sk-ssh-ed25519@openssh.com
 * with user presence, empty reserved field. Namespace and hash are the caller's and ours, never the blob's.
 * Non-canonical S and small-order points are refused (libsodium). Who signed is the embedded key, which the caller must
 * compare.
 */
#pragma once

#include <stdint.h>

#include "lib/code.h"
#include "lib/secret.h"
#include "lib/signed_text.h"
#include "lib/ssh_wire.h"

#define SSHSIG_DOCUMENT "latchkey-document@1"
#define SSHSIG_RESULTS "latchkey-results@1"
#define SSHSIG_IDENTITY "latchkey-identity@1"
#define SSHSIG_REPORT "latchkey-report@1"
#define SSHSIG_TRUST "latchkey-trust@1"

#define SSHSIG_SECRET_SIZE 64u /* libsodium's Ed25519 secret key: seed and public key */

struct sshsig {
	unsigned char *blob;  /* owned; everything else points into it */
	struct ssh_slice key; /* the embedded public key's blob */
	struct ssh_slice name_space;
	struct ssh_slice point;       /* the 32 bytes of the Ed25519 key */
	struct ssh_slice signature;   /* 64 bytes */
	struct ssh_slice application; /* sk only; otherwise bytes is NULL */
	uint8_t flags;
	uint32_t counter;
};

/* OK, SIGNATURE_INVALID for whatever is not exactly such a signature, INTERNAL. Proves nothing yet. */
enum code sshsig_parse(const char *armour, size_t size, struct sshsig *ret_signature);
/* OK when the embedded key made it over these bytes in this namespace; SIGNATURE_INVALID. */
enum code sshsig_verify(const struct sshsig *signature, const char *name_space, const void *payload, size_t size);
void sshsig_free(struct sshsig *signature);
#define cleanup_sshsig CLEANUP(sshsig_free)

/*
 * A text with exactly one signature, made by exactly this public key (a blob): OK and its parts, SIGNATURE_MISSING,
 * SIGNATURE_INVALID, MALFORMED, SIGNER_UNKNOWN when another key made it, INTERNAL.
 */
enum code sshsig_verify_text(const char *text, size_t size, const char *name_space, const unsigned char *key,
	size_t key_size, struct signed_text *ret_text);

/* A fresh Ed25519 secret key of SSHSIG_SECRET_SIZE bytes. */
int sshsig_generate_key(struct secret *ret_key) MUST_CHECK;
/* Appends its public half as a blob. -EINVAL when the secret has another size. */
int sshsig_public_blob(const struct secret *key, struct buffer *blob) MUST_CHECK;
/* Appends its public half as "ssh-ed25519 BASE64". */
int sshsig_public_line(const struct secret *key, struct buffer *line) MUST_CHECK;
/* Appends the armoured signature, newline included: payload + this is a signed text. -EINVAL, -ENOMEM. */
int sshsig_sign(const struct secret *key, const char *name_space, const void *payload, size_t size,
	struct buffer *armour) MUST_CHECK;
