/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/sshkey.h"

#include <errno.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/base64.h"
#include "lib/ssh_wire.h"

struct key_type {
	const char *name;
	enum sshkey_family family;
	const char *curve; /* ecdsa */
	size_t point_size; /* of the public part: ed25519, or an uncompressed point */
	unsigned bits;
};

static const struct key_type key_types[] = {
	{"ssh-ed25519", SSHKEY_ED25519, NULL, 32, 256},
	{"ecdsa-sha2-nistp256", SSHKEY_ECDSA, "nistp256", 65, 256},
	{"ecdsa-sha2-nistp384", SSHKEY_ECDSA, "nistp384", 97, 384},
	{"ecdsa-sha2-nistp521", SSHKEY_ECDSA, "nistp521", 133, 521},
	{"ssh-rsa", SSHKEY_RSA, NULL, 0, 0},
	{"sk-ssh-ed25519@openssh.com", SSHKEY_SK, NULL, 32, 256},
	{"sk-ecdsa-sha2-nistp256@openssh.com", SSHKEY_SK, "nistp256", 65, 256},
};

/* What people paste instead of a public key line, by how it begins, and what to say to them. */
static const struct {
	const char *begin;
	enum code code;
	const char *sentence;
} foreign_formats[] = {
	{"-----BEGIN OPENSSH PRIVATE KEY-----", CODE_KEY_IS_PRIVATE,
		"this is a private key: keep it secret and give the .pub file beside it (ssh-keygen -y -f KEY prints "
		"it)"},
	{"-----BEGIN RSA PRIVATE KEY-----", CODE_KEY_IS_PRIVATE,
		"this is a private RSA key (PEM): keep it secret and give its public half (ssh-keygen -y -f KEY)"},
	{"-----BEGIN EC PRIVATE KEY-----", CODE_KEY_IS_PRIVATE,
		"this is a private EC key (PEM): keep it secret and give its public half (ssh-keygen -y -f KEY)"},
	{"-----BEGIN DSA PRIVATE KEY-----", CODE_KEY_IS_PRIVATE,
		"this is a private DSA key: keep it secret and make a new pair (ssh-keygen -t ed25519)"},
	{"-----BEGIN ENCRYPTED PRIVATE KEY-----", CODE_KEY_IS_PRIVATE,
		"this is a private key (PKCS#8): keep it secret and give its public half (ssh-keygen -y -f KEY)"},
	{"-----BEGIN PRIVATE KEY-----", CODE_KEY_IS_PRIVATE,
		"this is a private key (PKCS#8): keep it secret and give its public half (ssh-keygen -y -f KEY)"},
	{"PuTTY-User-Key-File-", CODE_KEY_FORMAT,
		"this is a PuTTY .ppk file, which holds a private key: keep it secret and give the text that PuTTYgen "
		"shows "
		"under \"Public key for pasting\""},
	{"---- BEGIN SSH2 PUBLIC KEY ----", CODE_KEY_FORMAT,
		"this is a public key in SSH2 (RFC 4716) format: convert it with ssh-keygen -i -f FILE"},
	{"-----BEGIN PUBLIC KEY-----", CODE_KEY_FORMAT,
		"this is a public key in PKCS#8 format: convert it with ssh-keygen -i -m PKCS8 -f FILE"},
	{"-----BEGIN RSA PUBLIC KEY-----", CODE_KEY_FORMAT,
		"this is a public RSA key in PEM format: convert it with ssh-keygen -i -m PEM -f FILE"},
	{"-----BEGIN CERTIFICATE-----", CODE_KEY_FORMAT,
		"this is an X.509 certificate, which OpenSSH does not read: give an OpenSSH public key line"},
	{"-----BEGIN PGP PUBLIC KEY BLOCK-----", CODE_KEY_FORMAT,
		"this is an OpenPGP key: give an OpenSSH public key line (gpg --export-ssh-key prints one)"},
	{"-----BEGIN ", CODE_KEY_FORMAT, "this is a PEM file of an unknown kind: give an OpenSSH public key line"},
	{"\xef\xbb\xbf", CODE_KEY_FORMAT,
		"the text begins with a byte-order mark: save the file as plain UTF-8 or ASCII"},
	{"\xff\xfe", CODE_KEY_FORMAT, "the text is UTF-16: save the file as plain UTF-8 or ASCII"},
};

static enum code refuse(char detail[DETAIL_MAX + 1], enum code code, const char *sentence)
{
	(void)snprintf(detail, DETAIL_MAX + 1, "%s", sentence);
	return code;
}

static const struct key_type *find_type(const char *name, size_t size)
{
	for (size_t i = 0; i < ELEMENTS(key_types); i++) {
		if (strlen(key_types[i].name) == size && memcmp(key_types[i].name, name, size) == 0)
			return &key_types[i];
	}
	return NULL;
}

/* A positive mpint in its shortest form (RFC 4251, section 5); its length in bits. */
static int take_positive_mpint(struct ssh_slice *slice, unsigned *ret_bits, bool *ret_odd)
{
	struct ssh_slice number;

	int r = ssh_wire_take_string(slice, &number);
	if (r < 0)
		return r;
	if (number.size > SSHKEY_RSA_BITS_MAX / 8 + 1 || number.size == 0 || (number.bytes[0] & 0x80) != 0)
		return -EBADMSG;
	if (number.bytes[0] == 0) {
		if (number.size == 1 || (number.bytes[1] & 0x80) == 0)
			return -EBADMSG;
		number.bytes++;
		number.size--;
	}
	unsigned bits = (unsigned)number.size * 8;
	for (unsigned char top = number.bytes[0]; (top & 0x80) == 0; top = (unsigned char)(top << 1))
		bits--;
	*ret_bits = bits;
	*ret_odd = (number.bytes[number.size - 1] & 1) != 0;
	return 0;
}

static int check_rsa(struct ssh_slice *rest, unsigned *ret_bits)
{
	unsigned exponent_bits;
	bool exponent_odd, modulus_odd;

	int r = take_positive_mpint(rest, &exponent_bits, &exponent_odd);
	if (r < 0)
		return r;
	r = take_positive_mpint(rest, ret_bits, &modulus_odd);
	if (r < 0)
		return r;
	return exponent_odd && exponent_bits > 1 && modulus_odd && *ret_bits <= SSHKEY_RSA_BITS_MAX ? 0 : -EBADMSG;
}

/* What follows the type string. */
static int check_rest(const struct key_type *type, struct ssh_slice *rest, unsigned *ret_bits)
{
	struct ssh_slice part;
	int r;

	if (type->family == SSHKEY_RSA)
		return check_rsa(rest, ret_bits);
	*ret_bits = type->bits;
	if (type->curve) {
		r = ssh_wire_take_string(rest, &part);
		if (r < 0)
			return r;
		if (!ssh_slice_is(&part, type->curve))
			return -EBADMSG;
	}
	r = ssh_wire_take_string(rest, &part);
	if (r < 0)
		return r;
	if (part.size != type->point_size || (type->curve && part.bytes[0] != 4))
		return -EBADMSG;
	if (type->family == SSHKEY_SK) {
		r = ssh_wire_take_string(rest, &part);
		if (r < 0)
			return r;
		if (part.size == 0 || memchr(part.bytes, 0, part.size))
			return -EBADMSG;
	}
	return 0;
}

enum code sshkey_check_blob(const unsigned char *blob, size_t size, enum sshkey_family *ret_family,
	const char **ret_type, unsigned *ret_bits)
{
	struct ssh_slice rest = {blob, size}, name;
	unsigned bits = 0;

	if (ssh_wire_take_string(&rest, &name) < 0)
		return CODE_KEY_INVALID;
	const struct key_type *type = find_type((const char *)name.bytes, name.size);
	if (!type)
		return CODE_KEY_TYPE;
	if (check_rest(type, &rest, &bits) < 0 || rest.size != 0)
		return CODE_KEY_INVALID;
	if (ret_family)
		*ret_family = type->family;
	if (ret_type)
		*ret_type = type->name;
	if (ret_bits)
		*ret_bits = bits;
	return CODE_OK;
}

static bool has_prefix(const char *text, size_t size, const char *prefix)
{
	size_t prefix_size = strlen(prefix);
	return size >= prefix_size && memcmp(text, prefix, prefix_size) == 0;
}

static bool is_word(const char *word, size_t size, const char *text)
{
	return size == strlen(text) && memcmp(word, text, size) == 0;
}

static bool contains(const char *text, size_t size, const char *part)
{
	return memmem(text, size, part, strlen(part)) != NULL;
}

static size_t word_size(const char *text, size_t size)
{
	size_t end = 0;
	while (end < size && text[end] != ' ' && text[end] != '\t')
		end++;
	return end;
}

static size_t blank_size(const char *text, size_t size)
{
	size_t end = 0;
	while (end < size && (text[end] == ' ' || text[end] == '\t'))
		end++;
	return end;
}

static bool is_number(const char *word, size_t size)
{
	size_t digits = 0;
	while (digits < size && word[digits] >= '0' && word[digits] <= '9')
		digits++;
	return size > 0 && digits == size;
}

static enum code explain_type(
	const char *word, size_t size, const char *rest, size_t rest_size, char detail[DETAIL_MAX + 1])
{
	if (contains(word, size, "-cert-v01@openssh.com"))
		return refuse(detail, CODE_KEY_TYPE,
			"this is an SSH certificate, not a key: give the plain public key that it was made for");
	if (is_word(word, size, "ssh-dss"))
		return refuse(detail, CODE_KEY_TYPE,
			"DSA keys are no longer accepted by sshd: make a new pair (ssh-keygen -t ed25519)");
	if (is_word(word, size, "rsa-sha2-256") || is_word(word, size, "rsa-sha2-512"))
		return refuse(detail, CODE_KEY_TYPE, "this names a signature algorithm; the key type is ssh-rsa");
	if (is_number(word, size))
		return refuse(detail, CODE_KEY_TYPE,
			"this is a key of SSH protocol 1, which sshd no longer has: make a new pair (ssh-keygen -t "
			"ed25519)");
	/* A key type further on means that options stand before it. */
	for (size_t i = 0; i < ELEMENTS(key_types); i++) {
		if (contains(rest, rest_size, key_types[i].name))
			return refuse(detail, CODE_KEY_INVALID,
				"options before the key are not accepted: give the key alone, and use the fields from "
				"and "
				"expires");
	}
	return refuse(detail, CODE_KEY_TYPE,
		"not an OpenSSH public key: the line must begin with ssh-ed25519, ecdsa-sha2-nistp256/384/521, ssh-rsa "
		"or an "
		"sk- type");
}

static bool is_comment(const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if ((unsigned char)text[i] < 0x20 || (unsigned char)text[i] > 0x7e)
			return false;
	}
	return size <= SSHKEY_COMMENT_MAX;
}

static bool has_mark(const char *text, size_t size)
{
	while (size > 0) {
		size_t skip = blank_size(text, size);
		text += skip;
		size -= skip;
		if (has_prefix(text, size, SSHKEY_MARK))
			return true;
		skip = word_size(text, size);
		text += skip;
		size -= skip;
	}
	return false;
}

/* The line without its surroundings; false when there is more than one line, or a byte that no line has. */
static enum code trim(const char **text, size_t *size, char detail[DETAIL_MAX + 1])
{
	while (*size > 0 && ((*text)[*size - 1] == '\n' || (*text)[*size - 1] == '\r' || (*text)[*size - 1] == ' ' ||
				    (*text)[*size - 1] == '\t'))
		(*size)--;
	size_t skip = blank_size(*text, *size);
	*text += skip;
	*size -= skip;
	if (*size == 0)
		return refuse(detail, CODE_KEY_INVALID, "the key is empty");
	if (memchr(*text, '\n', *size) || memchr(*text, '\r', *size))
		return refuse(
			detail, CODE_KEY_INVALID, "the key has more than one line: give exactly one public key line");
	if (memchr(*text, '\0', *size))
		return refuse(detail, CODE_KEY_INVALID, "the key holds a NUL byte");
	return CODE_OK;
}

enum code sshkey_parse(const char *text, size_t size, struct sshkey *ret_key, char ret_detail[DETAIL_MAX + 1])
{
	cleanup_sshkey struct sshkey key = {0};
	const char *inner;

	ret_detail[0] = '\0';
	size_t start = 0; /* formats of other programs may stand after blank lines */
	while (start < size && strchr(" \t\r\n", text[start]) && text[start] != '\0')
		start++;
	for (size_t i = 0; i < ELEMENTS(foreign_formats); i++) {
		if (has_prefix(text + start, size - start, foreign_formats[i].begin))
			return refuse(ret_detail, foreign_formats[i].code, foreign_formats[i].sentence);
	}
	if (size > SSHKEY_LINE_MAX)
		return refuse(ret_detail, CODE_KEY_INVALID, "the key is longer than 16 KiB");
	enum code code = trim(&text, &size, ret_detail);
	if (code != CODE_OK)
		return code;
	size_t name_size = word_size(text, size);
	const char *encoded = text + name_size;
	size_t rest = size - name_size;
	size_t skip = blank_size(encoded, rest);
	encoded += skip;
	rest -= skip;
	const struct key_type *type = find_type(text, name_size);
	if (!type)
		return explain_type(text, name_size, encoded, rest, ret_detail);
	size_t encoded_size = word_size(encoded, rest);
	const char *comment = encoded + encoded_size;
	rest -= encoded_size;
	skip = blank_size(comment, rest);
	comment += skip;
	rest -= skip;
	if (encoded_size == 0)
		return refuse(
			ret_detail, CODE_KEY_INVALID, "the line ends after the key type: part of the key is missing");
	int r = base64_decode(encoded, encoded_size, &key.blob, &key.blob_size);
	if (r == -ENOMEM)
		return refuse(ret_detail, CODE_INTERNAL, "out of memory");
	if (r < 0)
		return refuse(ret_detail, CODE_KEY_INVALID,
			"the key's base64 is damaged or cut short: copy the whole line again");
	code = sshkey_check_blob(key.blob, key.blob_size, &key.family, &inner, &key.bits);
	if (code != CODE_OK)
		return refuse(ret_detail, code,
			"the key's content is damaged: its parts do not add up; copy the whole line again");
	if (strcmp(inner, type->name) != 0)
		return refuse(ret_detail, CODE_KEY_INVALID, "the type before the key and the type inside it differ");
	if (!is_comment(comment, rest))
		return refuse(ret_detail, CODE_KEY_INVALID,
			"the comment must be at most 256 printable ASCII characters: shorten it or leave it out");
	if (has_mark(comment, rest))
		return refuse(ret_detail, CODE_KEY_INVALID,
			"the comment holds the mark \"latchkey:\", which only the agent writes");
	key.type = type->name;
	key.comment = strndup(comment, rest);
	if (!key.comment)
		return refuse(ret_detail, CODE_INTERNAL, "out of memory");
	*ret_key = key;
	key = (struct sshkey){0};
	return CODE_OK;
}

bool sshkey_is_named(const char *name, size_t name_size, const char *type, size_t type_size)
{
	static const char *const rsa[] = {
		"rsa-sha2-256", "rsa-sha2-512"}; /* of signatures, but read as the key's too */

	if (name_size == type_size && memcmp(name, type, type_size) == 0)
		return true;
	for (unsigned i = 0; i < ELEMENTS(rsa); i++) {
		if (type_size == strlen("ssh-rsa") && memcmp(type, "ssh-rsa", type_size) == 0 &&
			name_size == strlen(rsa[i]) && memcmp(name, rsa[i], name_size) == 0)
			return true;
	}
	return false;
}

void sshkey_free(struct sshkey *key)
{
	free(key->blob);
	free(key->comment);
	*key = (struct sshkey){0};
}

const char *sshkey_family_name(enum sshkey_family family)
{
	static const char *const names[] = {
		[SSHKEY_ED25519] = "ed25519",
		[SSHKEY_ECDSA] = "ecdsa",
		[SSHKEY_RSA] = "rsa",
		[SSHKEY_SK] = "sk",
	};
	return names[family];
}

void sshkey_append(const struct sshkey *key, struct buffer *buffer)
{
	buffer_append_text(buffer, key->type);
	buffer_append_text(buffer, " ");
	base64_append(buffer, key->blob, key->blob_size);
}

static const char fingerprint_prefix[] = "SHA256:";

void sshkey_fingerprint_of_digest(
	const unsigned char digest[SSHKEY_DIGEST_SIZE], char ret_text[SSHKEY_FINGERPRINT_SIZE])
{
	size_t prefix = strlen(fingerprint_prefix);

	memcpy(ret_text, fingerprint_prefix, prefix);
	(void)sodium_bin2base64(ret_text + prefix, SSHKEY_FINGERPRINT_SIZE - prefix, digest, SSHKEY_DIGEST_SIZE,
		sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
}

int sshkey_read_fingerprint(const char *text, unsigned char ret_digest[SSHKEY_DIGEST_SIZE])
{
	unsigned char digest[SSHKEY_DIGEST_SIZE];
	char again[SSHKEY_FINGERPRINT_SIZE];
	size_t prefix = strlen(fingerprint_prefix), size = 0;

	if (strncmp(text, fingerprint_prefix, prefix) != 0 ||
		sodium_base642bin(digest, sizeof(digest), text + prefix, strlen(text + prefix), NULL, &size, NULL,
			sodium_base64_VARIANT_ORIGINAL_NO_PADDING) != 0 ||
		size != sizeof(digest))
		return -EINVAL;
	/* One spelling: what is compared as text must be compared as bytes. */
	sshkey_fingerprint_of_digest(digest, again);
	if (strcmp(again, text) != 0)
		return -EINVAL;
	memcpy(ret_digest, digest, sizeof(digest));
	return 0;
}

void sshkey_digest(const unsigned char *blob, size_t size, unsigned char ret_digest[SSHKEY_DIGEST_SIZE])
{
	(void)crypto_hash_sha256(ret_digest, blob, size);
}

void sshkey_fingerprint(const unsigned char *blob, size_t size, char ret_text[SSHKEY_FINGERPRINT_SIZE])
{
	unsigned char digest[SSHKEY_DIGEST_SIZE];

	sshkey_digest(blob, size, digest);
	sshkey_fingerprint_of_digest(digest, ret_text);
}
