/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/sshsig.h"

#include <errno.h>
#include <sodium.h>
#include <stdbool.h>
#include <string.h>

#include "lib/base64.h"

#define MAGIC "SSHSIG"
#define MAGIC_SIZE 6u
#define HASH_NAME "sha512"
#define PLAIN_TYPE "ssh-ed25519"
#define SECURITY_KEY_TYPE "sk-ssh-ed25519@openssh.com"
#define USER_PRESENT 0x01u  /* PROTOCOL.u2f */
#define ARMOUR_LINE_MAX 76u /* ssh-keygen writes 70 */
#define ARMOUR_LINE 70u
#define ARMOUR_MAX 4096u /* of an sk signature with a long application string; an Ed25519 one has 300 bytes */

/* The base64 between the two lines, without its newlines. */
static enum code dearmour(const char *armour, size_t size, struct buffer *encoded)
{
	if (size > ARMOUR_MAX || size < strlen(SIGNED_TEXT_BEGIN) + strlen(SIGNED_TEXT_END))
		return CODE_SIGNATURE_INVALID;
	const char *at = armour + strlen(SIGNED_TEXT_BEGIN);
	const char *end = armour + size - strlen(SIGNED_TEXT_END);
	if (memcmp(armour, SIGNED_TEXT_BEGIN, strlen(SIGNED_TEXT_BEGIN)) != 0 ||
		memcmp(end, SIGNED_TEXT_END, strlen(SIGNED_TEXT_END)) != 0)
		return CODE_SIGNATURE_INVALID;
	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		if (!newline || newline == at || (size_t)(newline - at) > ARMOUR_LINE_MAX)
			return CODE_SIGNATURE_INVALID;
		buffer_append(encoded, at, (size_t)(newline - at));
		at = newline + 1;
	}
	return buffer_status(encoded) < 0 ? CODE_INTERNAL : CODE_OK;
}

static int read_key(struct sshsig *signature, bool *ret_security_key)
{
	struct ssh_slice rest = signature->key, type;

	int r = ssh_wire_take_string(&rest, &type);
	if (r < 0)
		return r;
	r = ssh_wire_take_string(&rest, &signature->point);
	if (r < 0)
		return r;
	*ret_security_key = ssh_slice_is(&type, SECURITY_KEY_TYPE);
	if (*ret_security_key) {
		r = ssh_wire_take_string(&rest, &signature->application);
		if (r < 0)
			return r;
	} else if (!ssh_slice_is(&type, PLAIN_TYPE)) {
		return -EBADMSG;
	}
	return rest.size == 0 && signature->point.size == crypto_sign_PUBLICKEYBYTES ? 0 : -EBADMSG;
}

static int read_signature(struct sshsig *signature, struct ssh_slice rest, bool security_key)
{
	struct ssh_slice type;

	int r = ssh_wire_take_string(&rest, &type);
	if (r < 0)
		return r;
	if (!ssh_slice_is(&type, security_key ? SECURITY_KEY_TYPE : PLAIN_TYPE))
		return -EBADMSG;
	r = ssh_wire_take_string(&rest, &signature->signature);
	if (r < 0)
		return r;
	if (security_key) {
		r = ssh_wire_take_byte(&rest, &signature->flags);
		if (r < 0)
			return r;
		r = ssh_wire_take_uint32(&rest, &signature->counter);
		if (r < 0)
			return r;
	}
	return rest.size == 0 && signature->signature.size == crypto_sign_BYTES ? 0 : -EBADMSG;
}

static int read_blob(struct sshsig *signature, size_t size)
{
	struct ssh_slice rest = {signature->blob, size}, reserved, hash, inner;
	uint32_t version;
	bool security_key;

	if (size < MAGIC_SIZE || memcmp(rest.bytes, MAGIC, MAGIC_SIZE) != 0)
		return -EBADMSG;
	rest.bytes += MAGIC_SIZE;
	rest.size -= MAGIC_SIZE;
	int r = ssh_wire_take_uint32(&rest, &version);
	if (r < 0 || version != 1)
		return -EBADMSG;
	r = ssh_wire_take_string(&rest, &signature->key);
	if (r < 0)
		return r;
	r = ssh_wire_take_string(&rest, &signature->name_space);
	if (r < 0)
		return r;
	r = ssh_wire_take_string(&rest, &reserved);
	if (r < 0)
		return r;
	r = ssh_wire_take_string(&rest, &hash);
	if (r < 0)
		return r;
	r = ssh_wire_take_string(&rest, &inner);
	if (r < 0)
		return r;
	if (rest.size != 0 || reserved.size != 0 || !ssh_slice_is(&hash, HASH_NAME))
		return -EBADMSG;
	r = read_key(signature, &security_key);
	if (r < 0)
		return r;
	return read_signature(signature, inner, security_key);
}

enum code sshsig_parse(const char *armour, size_t size, struct sshsig *ret_signature)
{
	cleanup_sshsig struct sshsig signature = {0};
	cleanup_buffer struct buffer encoded = {0};
	size_t blob_size;

	enum code code = dearmour(armour, size, &encoded);
	if (code != CODE_OK)
		return code;
	int r = base64_decode(encoded.bytes, encoded.size, &signature.blob, &blob_size);
	if (r == -ENOMEM)
		return CODE_INTERNAL;
	if (r < 0 || read_blob(&signature, blob_size) < 0)
		return CODE_SIGNATURE_INVALID;
	*ret_signature = signature;
	signature = (struct sshsig){0};
	return CODE_OK;
}

void sshsig_free(struct sshsig *signature)
{
	free(signature->blob);
	*signature = (struct sshsig){0};
}

/* What is really signed: made from our constants, not from what the blob says. */
static int signed_bytes(const char *name_space, const void *payload, size_t size, struct buffer *message)
{
	unsigned char digest[crypto_hash_sha512_BYTES];

	(void)crypto_hash_sha512(digest, payload, size);
	buffer_append(message, MAGIC, MAGIC_SIZE);
	ssh_wire_put_text(message, name_space);
	ssh_wire_put_text(message, "");
	ssh_wire_put_text(message, HASH_NAME);
	ssh_wire_put_string(message, digest, sizeof(digest));
	return buffer_status(message);
}

/* A security key signs SHA256(application), flags, counter, SHA256(message) (PROTOCOL.u2f). */
static int security_key_bytes(const struct sshsig *signature, const struct buffer *message, struct buffer *wrapped)
{
	unsigned char digest[crypto_hash_sha256_BYTES];

	(void)crypto_hash_sha256(digest, signature->application.bytes, signature->application.size);
	buffer_append(wrapped, digest, sizeof(digest));
	buffer_append(wrapped, &signature->flags, 1);
	ssh_wire_put_uint32(wrapped, signature->counter);
	(void)crypto_hash_sha256(digest, (const unsigned char *)message->bytes, message->size);
	buffer_append(wrapped, digest, sizeof(digest));
	return buffer_status(wrapped);
}

enum code sshsig_verify(const struct sshsig *signature, const char *name_space, const void *payload, size_t size)
{
	cleanup_buffer struct buffer message = {0}, wrapped = {0};
	const struct buffer *checked = &message;

	if (sodium_init() < 0)
		return CODE_INTERNAL;
	if (!ssh_slice_is(&signature->name_space, name_space))
		return CODE_SIGNATURE_INVALID;
	if (signed_bytes(name_space, payload, size, &message) < 0)
		return CODE_INTERNAL;
	if (signature->application.bytes) {
		if ((signature->flags & USER_PRESENT) == 0)
			return CODE_SIGNATURE_INVALID;
		if (security_key_bytes(signature, &message, &wrapped) < 0)
			return CODE_INTERNAL;
		checked = &wrapped;
	}
	if (crypto_sign_verify_detached(signature->signature.bytes, (const unsigned char *)checked->bytes,
		    checked->size, signature->point.bytes) != 0)
		return CODE_SIGNATURE_INVALID;
	return CODE_OK;
}

enum code sshsig_verify_text(const char *text, size_t size, const char *name_space, const unsigned char *key,
	size_t key_size, struct signed_text *ret_text)
{
	cleanup_sshsig struct sshsig signature = {0};
	struct signed_text split;

	enum code code = signed_text_split(text, size, &split);
	if (code != CODE_OK)
		return code;
	if (split.count != 1)
		return CODE_SIGNATURE_INVALID;
	code = sshsig_parse(split.signatures[0].text, split.signatures[0].size, &signature);
	if (code != CODE_OK)
		return code;
	if (signature.key.size != key_size || memcmp(signature.key.bytes, key, key_size) != 0)
		return CODE_SIGNER_UNKNOWN;
	code = sshsig_verify(&signature, name_space, split.payload.text, split.payload.size);
	if (code != CODE_OK)
		return code;
	*ret_text = split;
	return CODE_OK;
}

int sshsig_generate_key(struct secret *ret_key)
{
	unsigned char public_key[crypto_sign_PUBLICKEYBYTES];

	if (sodium_init() < 0)
		return -EIO;
	int r = secret_allocate(SSHSIG_SECRET_SIZE, ret_key);
	if (r < 0)
		return r;
	(void)crypto_sign_keypair(public_key, ret_key->bytes);
	return 0;
}

int sshsig_public_blob(const struct secret *key, struct buffer *blob)
{
	unsigned char public_key[crypto_sign_PUBLICKEYBYTES];

	if (key->size != SSHSIG_SECRET_SIZE || crypto_sign_ed25519_sk_to_pk(public_key, key->bytes) != 0)
		return -EINVAL;
	ssh_wire_put_text(blob, PLAIN_TYPE);
	ssh_wire_put_string(blob, public_key, sizeof(public_key));
	return buffer_status(blob);
}

int sshsig_public_line(const struct secret *key, struct buffer *line)
{
	cleanup_buffer struct buffer blob = {0};

	int r = sshsig_public_blob(key, &blob);
	if (r < 0)
		return r;
	buffer_append_text(line, PLAIN_TYPE " ");
	base64_append(line, blob.bytes, blob.size);
	return buffer_status(line);
}

static void put_armour(struct buffer *armour, const struct buffer *blob)
{
	cleanup_buffer struct buffer encoded = {0};

	base64_append(&encoded, blob->bytes, blob->size);
	if (buffer_status(&encoded) < 0) {
		armour->failed = true;
		return;
	}
	buffer_append_text(armour, SIGNED_TEXT_BEGIN);
	for (size_t at = 0; at < encoded.size; at += ARMOUR_LINE) {
		size_t left = encoded.size - at;
		buffer_append(armour, encoded.bytes + at, left < ARMOUR_LINE ? left : ARMOUR_LINE);
		buffer_append_text(armour, "\n");
	}
	buffer_append_text(armour, SIGNED_TEXT_END);
}

int sshsig_sign(
	const struct secret *key, const char *name_space, const void *payload, size_t size, struct buffer *armour)
{
	cleanup_buffer struct buffer message = {0}, public_key = {0}, signature = {0}, blob = {0};
	unsigned char bytes[crypto_sign_BYTES];

	if (sodium_init() < 0)
		return -EIO;
	int r = sshsig_public_blob(key, &public_key);
	if (r < 0)
		return r;
	r = signed_bytes(name_space, payload, size, &message);
	if (r < 0)
		return r;
	if (crypto_sign_detached(bytes, NULL, (const unsigned char *)message.bytes, message.size, key->bytes) != 0)
		return -EINVAL;
	ssh_wire_put_text(&signature, PLAIN_TYPE);
	ssh_wire_put_string(&signature, bytes, sizeof(bytes));
	r = buffer_status(&signature);
	if (r < 0)
		return r;
	buffer_append(&blob, MAGIC, MAGIC_SIZE);
	ssh_wire_put_uint32(&blob, 1);
	ssh_wire_put_string(&blob, public_key.bytes, public_key.size);
	ssh_wire_put_text(&blob, name_space);
	ssh_wire_put_text(&blob, "");
	ssh_wire_put_text(&blob, HASH_NAME);
	ssh_wire_put_string(&blob, signature.bytes, signature.size);
	r = buffer_status(&blob);
	if (r < 0)
		return r;
	put_armour(armour, &blob);
	return buffer_status(armour);
}
