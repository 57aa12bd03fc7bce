/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/sshsig.h"

#include <sodium.h>
#include <string.h>

#include "lib/base64.h"
#include "lib/sshkey.h"
#include "tests/unit/ssh_keygen.h"

#define NAME_SPACE SSHSIG_DOCUMENT
static const char payload[] = "{\"v\":1,\"instance\":\"i-1\"}\n";
#define PAYLOAD_SIZE (sizeof(payload) - 1)

/* The order of the base point, little endian (RFC 8032, section 5.1). */
static const unsigned char order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde,
	0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10};

struct parts {
	uint32_t version;
	const char *key_type, *signature_type, *name_space, *reserved, *hash, *application;
	const unsigned char *point, *signature;
	size_t signature_size;
	uint8_t flags;
	uint32_t counter;
	const char *tail, *key_tail, *signature_tail;
};

static struct parts plain_parts(const unsigned char *point, const unsigned char *signature)
{
	return (struct parts){.version = 1,
		.key_type = "ssh-ed25519",
		.signature_type = "ssh-ed25519",
		.name_space = NAME_SPACE,
		.reserved = "",
		.hash = "sha512",
		.point = point,
		.signature = signature,
		.signature_size = 64,
		.tail = "",
		.key_tail = "",
		.signature_tail = ""};
}

static void put_key(const struct parts *parts, struct buffer *key)
{
	ssh_wire_put_text(key, parts->key_type);
	ssh_wire_put_string(key, parts->point, 32);
	if (parts->application)
		ssh_wire_put_text(key, parts->application);
	buffer_append_text(key, parts->key_tail);
	assert_int_equal(buffer_status(key), 0);
}

/* An armour with every part as given, so that each can be wrong by itself. */
static void make_armour(const struct parts *parts, struct buffer *armour)
{
	cleanup_buffer struct buffer key = {0}, signature = {0}, blob = {0}, encoded = {0};

	put_key(parts, &key);
	ssh_wire_put_text(&signature, parts->signature_type);
	ssh_wire_put_string(&signature, parts->signature, parts->signature_size);
	if (parts->application) {
		buffer_append(&signature, &parts->flags, 1);
		ssh_wire_put_uint32(&signature, parts->counter);
	}
	buffer_append_text(&signature, parts->signature_tail);
	assert_int_equal(buffer_status(&signature), 0);
	buffer_append_text(&blob, "SSHSIG");
	ssh_wire_put_uint32(&blob, parts->version);
	ssh_wire_put_string(&blob, key.bytes, key.size);
	ssh_wire_put_text(&blob, parts->name_space);
	ssh_wire_put_text(&blob, parts->reserved);
	ssh_wire_put_text(&blob, parts->hash);
	ssh_wire_put_string(&blob, signature.bytes, signature.size);
	buffer_append_text(&blob, parts->tail);
	assert_int_equal(buffer_status(&blob), 0);
	base64_append(&encoded, blob.bytes, blob.size);
	assert_int_equal(buffer_status(&encoded), 0);
	buffer_append_text(armour, SIGNED_TEXT_BEGIN);
	for (size_t at = 0; at < encoded.size; at += 70) {
		buffer_append(armour, encoded.bytes + at, encoded.size - at < 70 ? encoded.size - at : 70);
		buffer_append_text(armour, "\n");
	}
	buffer_append_text(armour, SIGNED_TEXT_END);
	assert_int_equal(buffer_status(armour), 0);
}

static enum code check(const char *armour, size_t size)
{
	cleanup_sshsig struct sshsig signature = {0};
	enum code code = sshsig_parse(armour, size, &signature);
	if (code != CODE_OK)
		return code;
	return sshsig_verify(&signature, NAME_SPACE, payload, PAYLOAD_SIZE);
}

static enum code check_parts(const struct parts *parts)
{
	cleanup_buffer struct buffer armour = {0};
	make_armour(parts, &armour);
	return check(armour.bytes, armour.size);
}

/* What is signed: the magic, namespace, reserved, hash name, hash of the payload. */
static void message_for(const char *name_space, const char *reserved, const char *hash, struct buffer *message)
{
	unsigned char digest[64];
	crypto_hash_sha512(digest, (const unsigned char *)payload, PAYLOAD_SIZE);
	buffer_append_text(message, "SSHSIG");
	ssh_wire_put_text(message, name_space);
	ssh_wire_put_text(message, reserved);
	ssh_wire_put_text(message, hash);
	ssh_wire_put_string(message, digest, sizeof(digest));
	assert_int_equal(buffer_status(message), 0);
}

static bool keygen_accepts(const struct workshop *workshop, const struct parts *parts, const char *armour, size_t size)
{
	cleanup_buffer struct buffer key = {0}, line = {0};

	put_key(parts, &key);
	buffer_append_text(&line, "i-* namespaces=\"" NAME_SPACE "\" ");
	buffer_append_text(&line, parts->key_type);
	buffer_append_text(&line, " ");
	base64_append(&line, key.bytes, key.size);
	buffer_append_text(&line, " tester\n");
	assert_int_equal(buffer_status(&line), 0);
	workshop_write(workshop, "allowed", line.bytes, line.size);
	workshop_write(workshop, "armour", armour, size);
	return workshop_run(workshop,
		(const char *const[]){
			"-Y", "verify", "-f", "allowed", "-I", "i-1", "-n", NAME_SPACE, "-s", "armour", NULL},
		payload, PAYLOAD_SIZE, NULL);
}

static void P12_ssh_keygen_accepts_what_we_sign(void **state)
{
	const struct workshop *workshop = *state;
	cleanup_secret struct secret key = {0};
	cleanup_buffer struct buffer armour = {0}, blob = {0};

	assert_int_equal(sshsig_generate_key(&key), 0);
	assert_int_equal(sshsig_sign(&key, NAME_SPACE, payload, PAYLOAD_SIZE, &armour), 0);
	assert_int_equal(sshsig_public_blob(&key, &blob), 0);
	const struct parts parts = plain_parts((const unsigned char *)blob.bytes + 19, NULL);
	assert_true(keygen_accepts(workshop, &parts, armour.bytes, armour.size));
	assert_int_equal(check(armour.bytes, armour.size), CODE_OK);
}

static void P12_we_accept_what_ssh_keygen_signs(void **state)
{
	const struct workshop *workshop = *state;
	size_t size;

	(void)unlinkat(workshop->directory, "key", 0);
	assert_true(workshop_run(workshop,
		(const char *const[]){"-q", "-t", "ed25519", "-N", "", "-C", "", "-f", "key", NULL}, "", 0, NULL));
	for (size_t length = 0; length < 300; length += 37) {
		char message[300];
		memset(message, 'x', sizeof(message));
		cleanup_buffer struct buffer armour = {0};
		cleanup_sshsig struct sshsig signature = {0};
		assert_true(workshop_run(workshop,
			(const char *const[]){"-q", "-Y", "sign", "-f", "key", "-n", NAME_SPACE, NULL}, message, length,
			&armour));
		assert_int_equal(sshsig_parse(armour.bytes, armour.size, &signature), CODE_OK);
		assert_int_equal(sshsig_verify(&signature, NAME_SPACE, message, length), CODE_OK);
		assert_int_equal(sshsig_verify(&signature, SSHSIG_RESULTS, message, length), CODE_SIGNATURE_INVALID);
		assert_int_equal(sshsig_verify(&signature, NAME_SPACE, message, length + 1), CODE_SIGNATURE_INVALID);
		cleanup_free char *line = workshop_read(workshop, "key.pub", &size);
		cleanup_sshkey struct sshkey key = {0};
		char detail[DETAIL_MAX + 1];
		assert_int_equal(sshkey_parse(line, size, &key, detail), CODE_OK);
		assert_int_equal(signature.key.size, key.blob_size);
		assert_memory_equal(signature.key.bytes, key.blob, key.blob_size);
	}
}

/* Ed25519 is deterministic: with the same key both programs must write the same bytes. */
static void P12_the_same_key_gives_the_same_armour(void **state)
{
	const struct workshop *workshop = *state;
	cleanup_buffer struct buffer theirs = {0}, ours = {0}, encoded = {0};
	cleanup_free unsigned char *blob = NULL;
	cleanup_secret struct secret key = {0};
	size_t size, blob_size;

	(void)unlinkat(workshop->directory, "key", 0);
	assert_true(workshop_run(workshop,
		(const char *const[]){"-q", "-t", "ed25519", "-N", "", "-C", "", "-f", "key", NULL}, "", 0, NULL));
	cleanup_free char *pem = workshop_read(workshop, "key", &size);
	for (char *line = strchr(pem, '\n') + 1; *line != '-'; line = strchr(line, '\n') + 1)
		buffer_append(&encoded, line, strcspn(line, "\n"));
	assert_int_equal(buffer_status(&encoded), 0);
	assert_int_equal(base64_decode(encoded.bytes, encoded.size, &blob, &blob_size), 0);
	/* PROTOCOL.key: the 64 secret bytes are the only string of that length */
	const unsigned char *found = memmem(blob, blob_size, "\0\0\0\x40", 4);
	assert_non_null(found);
	assert_int_equal(secret_allocate(SSHSIG_SECRET_SIZE, &key), 0);
	memcpy(key.bytes, found + 4, SSHSIG_SECRET_SIZE);
	assert_true(
		workshop_run(workshop, (const char *const[]){"-q", "-Y", "sign", "-f", "key", "-n", NAME_SPACE, NULL},
			payload, PAYLOAD_SIZE, &theirs));
	assert_int_equal(sshsig_sign(&key, NAME_SPACE, payload, PAYLOAD_SIZE, &ours), 0);
	assert_int_equal(theirs.size, ours.size);
	assert_memory_equal(theirs.bytes, ours.bytes, ours.size);
}

/* RFC 8032, section 7.1, TEST 1: the public key of the published seed. */
static void P12_published_key(void **state)
{
	static const char seed[] = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
	static const char public_key[] = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
	cleanup_buffer struct buffer blob = {0};
	unsigned char expected[32], point[32];
	cleanup_secret struct secret key = {0};

	(void)state;
	assert_int_equal(secret_allocate(SSHSIG_SECRET_SIZE, &key), 0);
	assert_int_equal(sodium_hex2bin(key.bytes, 32, seed, 64, NULL, NULL, NULL), 0);
	assert_int_equal(sodium_hex2bin(expected, 32, public_key, 64, NULL, NULL, NULL), 0);
	assert_int_equal(crypto_sign_seed_keypair(point, key.bytes, key.bytes), 0);
	assert_memory_equal(point, expected, 32);
	assert_int_equal(sshsig_public_blob(&key, &blob), 0);
	assert_int_equal(blob.size, 51);
	assert_memory_equal(blob.bytes + 19, expected, 32);
}

static void P12_every_flipped_bit_is_refused(void **state)
{
	unsigned char point[32], secret[64], bytes[64], flipped[64];
	cleanup_buffer struct buffer message = {0};

	(void)state;
	crypto_sign_keypair(point, secret);
	message_for(NAME_SPACE, "", "sha512", &message);
	crypto_sign_detached(bytes, NULL, (const unsigned char *)message.bytes, message.size, secret);
	struct parts parts = plain_parts(point, bytes);
	assert_int_equal(check_parts(&parts), CODE_OK);
	for (size_t bit = 0; bit < 512; bit++) {
		memcpy(flipped, bytes, 64);
		flipped[bit / 8] ^= (unsigned char)(1u << bit % 8);
		parts.signature = flipped;
		assert_int_equal(check_parts(&parts), CODE_SIGNATURE_INVALID);
	}
	for (size_t bit = 0; bit < 256; bit++) {
		memcpy(flipped, point, 32);
		flipped[bit / 8] ^= (unsigned char)(1u << bit % 8);
		parts = plain_parts(flipped, bytes);
		assert_int_equal(check_parts(&parts), CODE_SIGNATURE_INVALID);
	}
	/* and at every byte of the armour */
	cleanup_buffer struct buffer armour = {0};
	parts = plain_parts(point, bytes);
	make_armour(&parts, &armour);
	for (size_t i = 0; i < armour.size; i++) {
		armour.bytes[i] ^= 1;
		assert_int_equal(check(armour.bytes, armour.size), CODE_SIGNATURE_INVALID);
		armour.bytes[i] ^= 1;
		assert_int_equal(check(armour.bytes, i), CODE_SIGNATURE_INVALID);
	}
}

static void P12_constants_are_ours(void **state)
{
	unsigned char point[32], secret[64], bytes[64], longer[65] = {0};
	cleanup_buffer struct buffer message = {0}, other = {0}, reserved = {0}, sha256 = {0};

	(void)state;
	crypto_sign_keypair(point, secret);
	message_for(NAME_SPACE, "", "sha512", &message);
	crypto_sign_detached(bytes, NULL, (const unsigned char *)message.bytes, message.size, secret);
	const struct parts good = plain_parts(point, bytes);
	assert_int_equal(check_parts(&good), CODE_OK);
	struct parts bad = good;
	bad.version = 2;
	assert_int_equal(check_parts(&bad), CODE_SIGNATURE_INVALID);
	bad = good;
	bad.key_type = "ssh-rsa";
	assert_int_equal(check_parts(&bad), CODE_SIGNATURE_INVALID);
	bad = good;
	bad.signature_type = "ssh-rsa";
	assert_int_equal(check_parts(&bad), CODE_SIGNATURE_INVALID);
	bad = good;
	bad.signature_size = 63;
	assert_int_equal(check_parts(&bad), CODE_SIGNATURE_INVALID);
	bad = good;
	memcpy(longer, bytes, 64);
	bad.signature = longer;
	bad.signature_size = 65;
	assert_int_equal(check_parts(&bad), CODE_SIGNATURE_INVALID);
	bad = good;
	bad.tail = "x";
	assert_int_equal(check_parts(&bad), CODE_SIGNATURE_INVALID);
	bad = good;
	bad.key_tail = "x";
	assert_int_equal(check_parts(&bad), CODE_SIGNATURE_INVALID);
	bad = good;
	bad.signature_tail = "x";
	assert_int_equal(check_parts(&bad), CODE_SIGNATURE_INVALID);
	/* what the blob says of itself is compared, not only what was signed */
	bad = good;
	bad.reserved = "x";
	assert_int_equal(check_parts(&bad), CODE_SIGNATURE_INVALID);
	bad = good;
	bad.hash = "sha256";
	assert_int_equal(check_parts(&bad), CODE_SIGNATURE_INVALID);
	bad = good;
	bad.name_space = SSHSIG_TRUST;
	assert_int_equal(check_parts(&bad), CODE_SIGNATURE_INVALID);
	/* Rightly signed, but in another namespace, with a reserved field, with another hash. */
	message_for(SSHSIG_TRUST, "", "sha512", &other);
	crypto_sign_detached(bytes, NULL, (const unsigned char *)other.bytes, other.size, secret);
	bad = good;
	bad.name_space = SSHSIG_TRUST;
	assert_int_equal(check_parts(&bad), CODE_SIGNATURE_INVALID);
	message_for(NAME_SPACE, "x", "sha512", &reserved);
	crypto_sign_detached(bytes, NULL, (const unsigned char *)reserved.bytes, reserved.size, secret);
	bad = good;
	bad.reserved = "x";
	assert_int_equal(check_parts(&bad), CODE_SIGNATURE_INVALID);
	message_for(NAME_SPACE, "", "sha256", &sha256);
	crypto_sign_detached(bytes, NULL, (const unsigned char *)sha256.bytes, sha256.size, secret);
	bad = good;
	bad.hash = "sha256";
	assert_int_equal(check_parts(&bad), CODE_SIGNATURE_INVALID);
}

/* S + L and a small-order key: ssh-keygen 9.2 takes both, we take neither. */
static void P12_malleable_and_small_order(void **state)
{
	unsigned char point[32], secret[64], bytes[64], identity[32] = {1}, forged[64] = {1}, zero[64] = {0};
	cleanup_buffer struct buffer message = {0}, armour = {0};
	const struct workshop *workshop = *state;

	crypto_sign_keypair(point, secret);
	message_for(NAME_SPACE, "", "sha512", &message);
	crypto_sign_detached(bytes, NULL, (const unsigned char *)message.bytes, message.size, secret);
	struct parts parts = plain_parts(point, bytes);
	assert_int_equal(check_parts(&parts), CODE_OK);
	unsigned carry = 0;
	for (size_t i = 0; i < 32; i++) {
		carry += (unsigned)bytes[32 + i] + order[i];
		bytes[32 + i] = (unsigned char)carry;
		carry >>= 8;
	}
	make_armour(&parts, &armour);
	assert_true(keygen_accepts(workshop, &parts, armour.bytes, armour.size));
	assert_int_equal(check(armour.bytes, armour.size), CODE_SIGNATURE_INVALID);

	parts = plain_parts(identity, forged);
	buffer_free(&armour);
	make_armour(&parts, &armour);
	assert_true(keygen_accepts(workshop, &parts, armour.bytes, armour.size));
	assert_int_equal(check(armour.bytes, armour.size), CODE_SIGNATURE_INVALID);
	parts = plain_parts(zero, zero);
	assert_int_equal(check_parts(&parts), CODE_SIGNATURE_INVALID);
}

static void P12_security_key(void **state)
{
	unsigned char point[32], secret[64], bytes[64], digest[32], flags = 1;
	cleanup_buffer struct buffer message = {0}, wrapped = {0}, armour = {0};
	const struct workshop *workshop = *state;

	crypto_sign_keypair(point, secret);
	message_for(NAME_SPACE, "", "sha512", &message);
	crypto_hash_sha256(digest, (const unsigned char *)"ssh:", 4);
	buffer_append(&wrapped, digest, 32);
	buffer_append(&wrapped, &flags, 1);
	ssh_wire_put_uint32(&wrapped, 7);
	crypto_hash_sha256(digest, (const unsigned char *)message.bytes, message.size);
	buffer_append(&wrapped, digest, 32);
	crypto_sign_detached(bytes, NULL, (const unsigned char *)wrapped.bytes, wrapped.size, secret);
	struct parts parts = plain_parts(point, bytes);
	parts.key_type = parts.signature_type = "sk-ssh-ed25519@openssh.com";
	parts.application = "ssh:";
	parts.flags = 1;
	parts.counter = 7;
	make_armour(&parts, &armour);
	assert_int_equal(check(armour.bytes, armour.size), CODE_OK);
	assert_true(keygen_accepts(workshop, &parts, armour.bytes, armour.size));
	parts.counter = 8;
	assert_int_equal(check_parts(&parts), CODE_SIGNATURE_INVALID);
	parts.counter = 7;
	parts.application = "ssh:other";
	assert_int_equal(check_parts(&parts), CODE_SIGNATURE_INVALID);
	/* rightly signed, but nobody touched the key */
	parts.application = "ssh:";
	parts.flags = 0;
	wrapped.bytes[32] = 0;
	crypto_sign_detached(bytes, NULL, (const unsigned char *)wrapped.bytes, wrapped.size, secret);
	assert_int_equal(check_parts(&parts), CODE_SIGNATURE_INVALID);
}

static void a_text_by_one_pinned_key(void **state)
{
	cleanup_secret struct secret key = {0}, other = {0};
	cleanup_buffer struct buffer text = {0}, blob = {0}, other_blob = {0};
	struct signed_text parts;

	(void)state;
	assert_int_equal(sshsig_generate_key(&key), 0);
	assert_int_equal(sshsig_generate_key(&other), 0);
	assert_int_equal(sshsig_public_blob(&key, &blob), 0);
	assert_int_equal(sshsig_public_blob(&other, &other_blob), 0);
	buffer_append_text(&text, payload);
	assert_int_equal(sshsig_sign(&key, SSHSIG_RESULTS, payload, PAYLOAD_SIZE, &text), 0);
	const unsigned char *pinned = (const unsigned char *)blob.bytes;
	assert_int_equal(sshsig_verify_text(text.bytes, text.size, SSHSIG_RESULTS, pinned, blob.size, &parts), CODE_OK);
	assert_int_equal(parts.payload.size, PAYLOAD_SIZE);
	assert_int_equal(sshsig_verify_text(text.bytes, text.size, SSHSIG_IDENTITY, pinned, blob.size, &parts),
		CODE_SIGNATURE_INVALID);
	assert_int_equal(sshsig_verify_text(text.bytes, text.size, SSHSIG_RESULTS,
				 (const unsigned char *)other_blob.bytes, other_blob.size, &parts),
		CODE_SIGNER_UNKNOWN);
	assert_int_equal(sshsig_sign(&key, SSHSIG_RESULTS, payload, PAYLOAD_SIZE, &text), 0);
	assert_int_equal(sshsig_verify_text(text.bytes, text.size, SSHSIG_RESULTS, pinned, blob.size, &parts),
		CODE_SIGNATURE_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(P12_ssh_keygen_accepts_what_we_sign),
		cmocka_unit_test(P12_we_accept_what_ssh_keygen_signs),
		cmocka_unit_test(P12_the_same_key_gives_the_same_armour),
		cmocka_unit_test(P12_published_key),
		cmocka_unit_test(P12_every_flipped_bit_is_refused),
		cmocka_unit_test(P12_constants_are_ours),
		cmocka_unit_test(P12_malleable_and_small_order),
		cmocka_unit_test(P12_security_key),
		cmocka_unit_test(a_text_by_one_pinned_key),
	};
	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, workshop_open, workshop_close);
}
