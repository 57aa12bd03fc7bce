/* SPDX-License-Identifier: Apache-2.0 */
#include "console/cli/private_key.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>

#include "lib/file.h"
#include "lib/sshsig.h"

#define MAGIC "openssh-key-v1"
#define BEGIN "-----BEGIN OPENSSH PRIVATE KEY-----\n"
#define END "-----END OPENSSH PRIVATE KEY-----\n"
#define LINE 70u
#define BLOCK 8u /* of the cipher "none" */
#define COMMENT_MAX 256u
#define BLOB_MAX 1024u
#define TEXT_MAX 2048u

static void put(struct secret *secret, const void *bytes, size_t size)
{
	memcpy(secret->bytes + secret->size, bytes, size);
	secret->size += size;
}

static void put_uint32(struct secret *secret, size_t integer)
{
	const unsigned char bytes[4] = {(unsigned char)(integer >> 24), (unsigned char)(integer >> 16),
		(unsigned char)(integer >> 8), (unsigned char)integer};
	put(secret, bytes, sizeof(bytes));
}

static void put_string(struct secret *secret, const void *bytes, size_t size)
{
	put_uint32(secret, size);
	put(secret, bytes, size);
}

/* The inner section: check numbers, key, comment, padding 1, 2, 3, … */
static void put_private_section(struct secret *blob, const struct secret *key, const char *comment)
{
	size_t size_at = blob->size;
	unsigned char check[4];

	put_uint32(blob, 0);
	size_t start = blob->size;
	randombytes_buf(check, sizeof(check));
	put(blob, check, sizeof(check));
	put(blob, check, sizeof(check));
	put_string(blob, "ssh-ed25519", strlen("ssh-ed25519"));
	put_string(blob, key->bytes + 32, 32);
	put_string(blob, key->bytes, SSHSIG_SECRET_SIZE);
	put_string(blob, comment, strlen(comment));
	for (unsigned char i = 1; (blob->size - start) % BLOCK != 0; i++)
		put(blob, &i, 1);
	size_t size = blob->size - start;
	blob->bytes[size_at + 2] = (unsigned char)(size >> 8);
	blob->bytes[size_at + 3] = (unsigned char)size;
}

static int armour(const struct secret *blob, struct secret *ret_text)
{
	cleanup_secret struct secret encoded = {0}, text = {0};

	int r = secret_allocate(sodium_base64_ENCODED_LEN(blob->size, sodium_base64_VARIANT_ORIGINAL), &encoded);
	if (r == 0)
		r = secret_allocate(TEXT_MAX, &text);
	if (r < 0)
		return r;
	(void)sodium_bin2base64(
		(char *)encoded.bytes, encoded.size, blob->bytes, blob->size, sodium_base64_VARIANT_ORIGINAL);
	size_t left = strlen((const char *)encoded.bytes);
	text.size = 0;
	put(&text, BEGIN, strlen(BEGIN));
	for (size_t at = 0; left > 0;) {
		size_t size = left < LINE ? left : LINE;
		put(&text, encoded.bytes + at, size);
		put(&text, "\n", 1);
		at += size;
		left -= size;
	}
	put(&text, END, strlen(END));
	*ret_text = text;
	text = (struct secret){0};
	return 0;
}

int private_key_make(const char *comment, struct secret *ret_text, struct buffer *line)
{
	cleanup_secret struct secret key = {0}, blob = {0};
	cleanup_buffer struct buffer public_blob = {0};

	if (strlen(comment) > COMMENT_MAX)
		return -EINVAL;
	int r = sshsig_generate_key(&key);
	if (r == 0)
		r = sshsig_public_blob(&key, &public_blob);
	if (r == 0)
		r = secret_allocate(BLOB_MAX, &blob);
	if (r < 0)
		return r;
	blob.size = 0;
	put(&blob, MAGIC, sizeof(MAGIC));
	put_string(&blob, "none", 4);
	put_string(&blob, "none", 4);
	put_uint32(&blob, 0);
	put_uint32(&blob, 1);
	put_string(&blob, public_blob.bytes, public_blob.size);
	put_private_section(&blob, &key, comment);
	r = sshsig_public_line(&key, line);
	if (r < 0)
		return r;
	buffer_append_format(line, " %s\n", comment);
	r = buffer_status(line);
	if (r < 0)
		return r;
	return armour(&blob, ret_text);
}

int private_key_write(const char *path, const struct secret *text)
{
	if (strcmp(path, "-") == 0)
		return file_write_all(STDOUT_FILENO, text->bytes, text->size);
	cleanup_close int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (descriptor < 0)
		return -errno;
	int r = file_write_all(descriptor, text->bytes, text->size);
	if (r == 0 && fsync(descriptor) < 0)
		r = -errno;
	if (r < 0)
		(void)unlink(path);
	return r;
}
