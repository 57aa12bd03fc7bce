/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/sshkey.h"

#include <stdio.h>
#include <string.h>

#include "lib/base64.h"
#include "lib/ssh_wire.h"
#include "tests/unit/ssh_keygen.h"

#define BLOB "AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"
#define KEY "ssh-ed25519 " BLOB

static enum code parse(const char *text, size_t size, char detail[DETAIL_MAX + 1])
{
	cleanup_sshkey struct sshkey key = {0};
	enum code code = sshkey_parse(text, size, &key, detail);
	assert_int_equal(code != CODE_OK, detail[0] != '\0');
	/* never a byte of what was pasted */
	assert_null(strstr(detail, "AAAA"));
	return code;
}

static void T16_T17_key_table(void **state)
{
	static const struct {
		const char *text;
		enum code code;
	} rows[] = {
		{KEY, CODE_OK},
		{KEY "\n", CODE_OK},
		{KEY "\r\n", CODE_OK},
		{KEY " alice@example.com", CODE_OK},
		{KEY " two words  of comment \n", CODE_OK},
		{"  " KEY, CODE_OK},
		{"ssh-ed25519\t" BLOB, CODE_OK},
		{"", CODE_KEY_INVALID},
		{"\n", CODE_KEY_INVALID},
		{"ssh-ed25519", CODE_KEY_INVALID},
		{"ssh-ed25519 ", CODE_KEY_INVALID},
		{"ssh-rsa " BLOB, CODE_KEY_INVALID},
		{"ecdsa-sha2-nistp256 " BLOB, CODE_KEY_INVALID},
		{"ssh-ed25519 " BLOB "=", CODE_KEY_INVALID},
		{"ssh-ed25519 " BLOB "AAAA", CODE_KEY_INVALID},
		{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv", CODE_KEY_INVALID},
		{"ssh-ed25519 !!!!", CODE_KEY_INVALID},
		{KEY "\n" KEY, CODE_KEY_INVALID},
		{KEY "\r" KEY, CODE_KEY_INVALID},
		{KEY " x\ncommand", CODE_KEY_INVALID},
		{"command=\"id\" " KEY, CODE_KEY_INVALID},
		{"environment=\"A=b c\",from=\"*\" " KEY, CODE_KEY_INVALID},
		{"cert-authority " KEY, CODE_KEY_INVALID},
		{KEY " latchkey:web", CODE_KEY_INVALID},
		{KEY " me latchkey:web", CODE_KEY_INVALID},
		{KEY " not-latchkey:web", CODE_OK},
		{KEY " J\xc3\xbcrgen", CODE_KEY_INVALID},
		{KEY " a\x01", CODE_KEY_INVALID},
		{"ssh-dss AAAAB3NzaC1kc3MAAACB", CODE_KEY_TYPE},
		{"1024 35 1234567890", CODE_KEY_TYPE},
		{"ssh-ed25519-cert-v01@openssh.com AAAA", CODE_KEY_TYPE},
		{"ssh-unknown AAAA", CODE_KEY_TYPE},
		{"hello", CODE_KEY_TYPE},
		{"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n", CODE_KEY_IS_PRIVATE},
		{"\n\n-----BEGIN RSA PRIVATE KEY-----\n", CODE_KEY_IS_PRIVATE},
		{"-----BEGIN EC PRIVATE KEY-----\n", CODE_KEY_IS_PRIVATE},
		{"-----BEGIN PRIVATE KEY-----\n", CODE_KEY_IS_PRIVATE},
		{"-----BEGIN ENCRYPTED PRIVATE KEY-----\n", CODE_KEY_IS_PRIVATE},
		{"PuTTY-User-Key-File-3: ssh-ed25519\n", CODE_KEY_FORMAT},
		{"---- BEGIN SSH2 PUBLIC KEY ----\n", CODE_KEY_FORMAT},
		{"-----BEGIN PUBLIC KEY-----\n", CODE_KEY_FORMAT},
		{"-----BEGIN RSA PUBLIC KEY-----\n", CODE_KEY_FORMAT},
		{"-----BEGIN SOMETHING-----\n", CODE_KEY_FORMAT},
		{"\xef\xbb\xbf" KEY, CODE_KEY_FORMAT},
	};
	char detail[DETAIL_MAX + 1];

	(void)state;
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		if (parse(rows[i].text, strlen(rows[i].text), detail) != rows[i].code)
			fail_msg("row %zu: %s", i, detail);
	}
	assert_int_equal(parse(KEY "\0x", sizeof(KEY "\0x") - 1, detail), CODE_KEY_INVALID);
	cleanup_buffer struct buffer text = {0};
	buffer_append_text(&text, KEY " ");
	for (int i = 0; i < 257; i++)
		buffer_append_text(&text, "x");
	assert_int_equal(buffer_status(&text), 0);
	assert_int_equal(parse(text.bytes, text.size, detail), CODE_KEY_INVALID);
	assert_int_equal(parse(text.bytes, text.size - 1, detail), CODE_OK);
	for (int i = 0; i < 65536; i++)
		buffer_append_text(&text, "x");
	assert_int_equal(parse(text.bytes, text.size, detail), CODE_KEY_INVALID);
}

static void names_of_a_type_are_those_that_sshd_reads(void **state)
{
	static const struct {
		const char *name, *type;
		bool same;
	} rows[] = {
		{"ssh-rsa", "ssh-rsa", true},
		{"rsa-sha2-256", "ssh-rsa", true},
		{"rsa-sha2-512", "ssh-rsa", true},
		{"rsa-sha2-512", "ssh-ed25519", false},
		{"ssh-ed25519", "ssh-ed25519", true},
		{"ssh-ed25519", "ssh-rsa", false},
		{"ssh-rsa", "rsa-sha2-512", false},
		{"SSH-RSA", "ssh-rsa", false},
		{"rsa", "ssh-rsa", false},
		{"", "ssh-rsa", false},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		if (sshkey_is_named(rows[i].name, strlen(rows[i].name), rows[i].type, strlen(rows[i].type)) !=
			rows[i].same)
			fail_msg("%s %s", rows[i].name, rows[i].type);
	}
}

/* Every type that ssh-keygen makes here: same fingerprint and bits, and our line is one that it reads. */
static void P43_agrees_with_ssh_keygen(void **state)
{
	static const struct {
		const char *type, *bits;
		enum sshkey_family family;
	} rows[] = {
		{"ed25519", "256", SSHKEY_ED25519},
		{"ecdsa", "256", SSHKEY_ECDSA},
		{"ecdsa", "384", SSHKEY_ECDSA},
		{"ecdsa", "521", SSHKEY_ECDSA},
		{"rsa", "1024", SSHKEY_RSA},
		{"rsa", "2048", SSHKEY_RSA},
		{"rsa", "3071", SSHKEY_RSA},
	};
	const struct workshop *workshop = *state;

	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		cleanup_sshkey struct sshkey key = {0};
		cleanup_buffer struct buffer line = {0}, listing = {0};
		char detail[DETAIL_MAX + 1], fingerprint[SSHKEY_FINGERPRINT_SIZE], expected[128];
		size_t size;

		(void)unlinkat(workshop->directory, "key", 0);
		assert_true(workshop_run(workshop,
			(const char *const[]){"-q", "-t", rows[i].type, "-b", rows[i].bits, "-N", "", "-C", "some one",
				"-f", "key", NULL},
			"", 0, NULL));
		cleanup_free char *text = workshop_read(workshop, "key.pub", &size);
		assert_int_equal(sshkey_parse(text, size, &key, detail), CODE_OK);
		assert_int_equal(key.family, rows[i].family);
		assert_string_equal(key.comment, "some one");
		sshkey_fingerprint(key.blob, key.blob_size, fingerprint);
		sshkey_append(&key, &line);
		buffer_append_text(&line, "\n");
		assert_int_equal(buffer_status(&line), 0);
		assert_memory_equal(line.bytes, text, line.size - 1);
		workshop_write(workshop, "line.pub", line.bytes, line.size);
		assert_true(
			workshop_run(workshop, (const char *const[]){"-l", "-f", "line.pub", NULL}, "", 0, &listing));
		(void)snprintf(expected, sizeof(expected), "%u %s ", key.bits, fingerprint);
		assert_int_equal(buffer_status(&listing), 0);
		assert_memory_equal(listing.bytes, expected, strlen(expected));
		/* cut or lengthened by one byte, and with each byte of the lengths changed, it is no key any more */
		assert_int_not_equal(sshkey_check_blob(key.blob, key.blob_size - 1, NULL, NULL, NULL), CODE_OK);
		key.blob[3] ^= 1;
		assert_int_not_equal(sshkey_check_blob(key.blob, key.blob_size, NULL, NULL, NULL), CODE_OK);
	}
}

static void security_keys(void **state)
{
	unsigned char point[65] = {4};
	char fingerprint[SSHKEY_FINGERPRINT_SIZE];

	(void)state;
	for (int i = 0; i < 2; i++) {
		cleanup_buffer struct buffer blob = {0}, line = {0};
		cleanup_sshkey struct sshkey key = {0};
		char detail[DETAIL_MAX + 1];
		const char *type = i == 0 ? "sk-ssh-ed25519@openssh.com" : "sk-ecdsa-sha2-nistp256@openssh.com";
		ssh_wire_put_text(&blob, type);
		if (i == 1)
			ssh_wire_put_text(&blob, "nistp256");
		ssh_wire_put_string(&blob, point, i == 0 ? 32 : 65);
		assert_int_equal(buffer_status(&blob), 0);
		const unsigned char *bytes = (const unsigned char *)blob.bytes;
		assert_int_equal(sshkey_check_blob(bytes, blob.size, NULL, NULL, NULL), CODE_KEY_INVALID);
		ssh_wire_put_text(&blob, "ssh:");
		assert_int_equal(buffer_status(&blob), 0);
		buffer_append_format(&line, "%s ", type);
		base64_append(&line, blob.bytes, blob.size);
		assert_int_equal(buffer_status(&line), 0);
		assert_int_equal(sshkey_parse(line.bytes, line.size, &key, detail), CODE_OK);
		assert_string_equal(sshkey_family_name(key.family), "sk");
		sshkey_fingerprint(key.blob, key.blob_size, fingerprint);
		assert_int_equal(strlen(fingerprint), SSHKEY_FINGERPRINT_SIZE - 1);
	}
}

static void put_rsa(
	struct buffer *blob, const void *exponent, size_t exponent_size, size_t modulus_size, unsigned char top)
{
	cleanup_free unsigned char *modulus = calloc(1, modulus_size);
	assert_non_null(modulus);
	modulus[0] = top;
	modulus[modulus_size - 1] = 1;
	if (top == 0)
		modulus[1] = 0x80;
	ssh_wire_put_text(blob, "ssh-rsa");
	ssh_wire_put_string(blob, exponent, exponent_size);
	ssh_wire_put_string(blob, modulus, modulus_size);
	assert_int_equal(buffer_status(blob), 0);
}

static void rsa_numbers(void **state)
{
	static const struct {
		const char *exponent;
		size_t exponent_size, modulus_size;
		unsigned char top;
		enum code code;
		unsigned bits;
	} rows[] = {
		{"\x01\x00\x01", 3, 257, 0, CODE_OK, 2048},
		{"\x01\x00\x01", 3, 256, 0x40, CODE_OK, 2047},
		{"\x01\x00\x01", 3, 2049, 0, CODE_OK, 16384},
		{"\x01\x00\x01", 3, 2050, 0, CODE_KEY_INVALID, 0},
		{"\x01\x00\x01", 3, 256, 0x80, CODE_KEY_INVALID, 0},  /* negative */
		{"\x00\x01\x00\x01", 4, 257, 0, CODE_KEY_INVALID, 0}, /* not the shortest form */
		{"\x01", 1, 257, 0, CODE_KEY_INVALID, 0},
		{"\x02", 1, 257, 0, CODE_KEY_INVALID, 0},
		{"", 0, 257, 0, CODE_KEY_INVALID, 0},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		cleanup_buffer struct buffer blob = {0};
		unsigned bits = 0;
		put_rsa(&blob, rows[i].exponent, rows[i].exponent_size, rows[i].modulus_size, rows[i].top);
		assert_int_equal(sshkey_check_blob((const unsigned char *)blob.bytes, blob.size, NULL, NULL, &bits),
			rows[i].code);
		assert_int_equal(bits, rows[i].bits);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(T16_T17_key_table),
		cmocka_unit_test(names_of_a_type_are_those_that_sshd_reads),
		cmocka_unit_test(P43_agrees_with_ssh_keygen),
		cmocka_unit_test(security_keys),
		cmocka_unit_test(rsa_numbers),
	};
	return cmocka_run_group_tests(tests, workshop_open, workshop_close);
}
