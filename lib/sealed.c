/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/sealed.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "lib/base64.h"

int sealed_generate_key(struct secret *ret_key, unsigned char ret_public[SEALED_KEY_SIZE])
{
	if (sodium_init() < 0)
		return -EIO;
	int r = secret_allocate(crypto_box_SECRETKEYBYTES, ret_key);
	if (r < 0)
		return r;
	(void)crypto_box_keypair(ret_public, ret_key->bytes);
	return 0;
}

int sealed_public_key(const struct secret *key, unsigned char ret_public[SEALED_KEY_SIZE])
{
	if (key->size != crypto_box_SECRETKEYBYTES)
		return -EBADMSG;
	return crypto_scalarmult_base(ret_public, key->bytes) == 0 ? 0 : -EBADMSG;
}

int sealed_parse_public_key(const char *text, unsigned char ret_public[SEALED_KEY_SIZE])
{
	cleanup_free unsigned char *bytes = NULL;
	size_t size;

	if (strnlen(text, 45) != 44)
		return -EBADMSG;
	int r = base64_decode(text, 44, &bytes, &size);
	if (r < 0)
		return r;
	if (size != SEALED_KEY_SIZE)
		return -EBADMSG;
	memcpy(ret_public, bytes, SEALED_KEY_SIZE);
	return 0;
}

int sealed_seal(const struct secret *plain, const unsigned char public_key[SEALED_KEY_SIZE], char **ret_text)
{
	cleanup_secret struct secret padded = {0};
	cleanup_buffer struct buffer text = {0};
	size_t size = 0;

	if (sodium_init() < 0)
		return -EIO;
	int r = secret_allocate(plain->size + SEALED_BLOCK, &padded);
	if (r < 0)
		return r;
	memcpy(padded.bytes, plain->bytes, plain->size);
	if (sodium_pad(&size, padded.bytes, plain->size, SEALED_BLOCK, padded.size) != 0)
		return -EFBIG;
	size_t sealed_size = size + crypto_box_SEALBYTES;
	if ((sealed_size + 2) / 3 * 4 > SEALED_TEXT_MAX)
		return -EFBIG;
	cleanup_free unsigned char *sealed = malloc(sealed_size);
	if (!sealed)
		return -ENOMEM;
	if (crypto_box_seal(sealed, padded.bytes, size, public_key) != 0)
		return -EINVAL;
	base64_append(&text, sealed, sealed_size);
	r = buffer_status(&text);
	if (r < 0)
		return r;
	*ret_text = buffer_steal(&text);
	return 0;
}

int sealed_open(const char *text, const struct secret *key, struct secret *ret_plain)
{
	cleanup_secret struct secret plain = {0};
	cleanup_free unsigned char *sealed = NULL;
	unsigned char public_key[SEALED_KEY_SIZE];
	size_t text_size = strnlen(text, SEALED_TEXT_MAX + 1);
	size_t sealed_size, size;

	if (text_size > SEALED_TEXT_MAX)
		return -EBADMSG;
	int r = sealed_public_key(key, public_key);
	if (r < 0)
		return r;
	r = base64_decode(text, text_size, &sealed, &sealed_size);
	if (r < 0)
		return r;
	if (sealed_size < crypto_box_SEALBYTES + SEALED_BLOCK ||
		(sealed_size - crypto_box_SEALBYTES) % SEALED_BLOCK != 0)
		return -EBADMSG;
	r = secret_allocate(sealed_size - crypto_box_SEALBYTES, &plain);
	if (r < 0)
		return r;
	if (crypto_box_seal_open(plain.bytes, sealed, sealed_size, public_key, key->bytes) != 0)
		return -EBADMSG;
	if (sodium_unpad(&size, plain.bytes, plain.size, SEALED_BLOCK) != 0)
		return -EBADMSG;
	/* The padding begins with a byte that is not plaintext: whoever reads to a NUL must not see it. */
	explicit_bzero(plain.bytes + size, plain.size - size);
	plain.size = size;
	*ret_plain = plain;
	plain = (struct secret){0};
	return 0;
}
