/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/key_lines.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base64.h"

/* A blob that begins as an ed25519 key does; what the editor compares is bytes. */
#define KEY "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"
#define OTHER "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP/////////////////////////////////////////w"

static struct key_line line_of(const char *text)
{
	return (struct key_line){text, strlen(text)};
}

static char *set(const char *text, const char *label, const char *line)
{
	struct buffer out = {0};
	assert_int_equal(key_lines_set(text, strlen(text), label, line, &out), 0);
	return buffer_steal(&out);
}

static void ours_ends_in_the_mark(void **state)
{
	static const struct {
		const char *line, *label; /* NULL: not ours */
	} rows[] = {
		{KEY " latchkey:k1", "k1"}, {KEY " a comment latchkey:Office_2.0-x", "Office_2.0-x"},
		{"expiry-time=\"20300101000000Z\" " KEY " latchkey:k1", "k1"}, {KEY " latchkey:k1 ", NULL},
		{KEY " latchkey:k1\r", "k1"}, {KEY " latchkey:k1\r\r", NULL}, {"\r", NULL}, {KEY " latchkey:", NULL},
		{KEY " latchkey:a/b", NULL}, {KEY " xlatchkey:k1", NULL}, {KEY "\tlatchkey:k1", NULL},
		{"# " KEY " latchkey:k1", NULL}, {"  # latchkey:k1", NULL}, {"latchkey:k1", NULL}, {"", NULL},
		{KEY, NULL},
		{KEY " latchkey:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL}, /* 65 */
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		struct key_line line = line_of(rows[i].line);
		char label[KEY_LABEL_MAX + 1] = "";
		bool ours = key_line_is_ours(&line, label);
		if (ours != (rows[i].label != NULL) || (ours && strcmp(label, rows[i].label) != 0))
			fail_msg("%s: %s", rows[i].line, ours ? label : "not ours");
	}
}

static void T18_a_key_is_found_behind_any_options(void **state)
{
	static const struct {
		const char *line;
		bool has;
	} rows[] = {
		{KEY, true},
		{KEY " comment", true},
		{"  \t" KEY, true},
		{KEY "\r", true},
		{KEY "\f x", true},
		{"ssh-ed25519 AAAAC3Nza\v\rC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g", true},
		{"ssh-ed25519\fAAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g", false},
		{"restrict " KEY, true},
		{"from=\"10.0.0.0/8,::1\",command=\"echo \\\"a b\\\" c\" " KEY " x", true},
		{"command=\"" KEY "\" " OTHER, false},
		{"no-pty\t\t" KEY, true},
		{"#" KEY, false},
		{"# " KEY, false},
		{OTHER, false},
		{"ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g", false},
		{"ssh-ed25519", false},
		{"command=\"unterminated " KEY, false},
		{"", false},
	};
	cleanup_free unsigned char *blob = NULL;
	size_t size;

	(void)state;
	assert_int_equal(base64_decode(KEY + 12, strlen(KEY) - 12, &blob, &size), 0);
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		struct key_line line = line_of(rows[i].line);
		if (key_line_has_blob(&line, blob, size) != rows[i].has)
			fail_msg("%s", rows[i].line);
	}
	const struct key_line cut = {KEY "\0 more", strlen(KEY) + 6};
	assert_true(key_line_has_blob(&cut, blob, size));
}

static void ours_stand_before_the_first_byte(void **state)
{
	(void)state;
	static const struct {
		const char *before, *label, *line, *after;
	} rows[] = {
		{"", "k1", KEY " latchkey:k1", KEY " latchkey:k1\n"},
		{"hand", "k1", KEY " latchkey:k1", KEY " latchkey:k1\nhand"},
		{KEY " latchkey:k1\nhand", "k2", OTHER " latchkey:k2", OTHER " latchkey:k2\n" KEY " latchkey:k1\nhand"},
		{"a\n" KEY " latchkey:k1\nb", "k1", OTHER " latchkey:k1", "a\n" OTHER " latchkey:k1\nb"},
		{"a\n" KEY " latchkey:k1\nb\n" KEY " latchkey:k1\n", "k1", NULL, "a\nb\n"},
		{"a\n" KEY " latchkey:k1", "k1", NULL, "a\n"},
		{KEY " latchkey:k10\n", "k1", NULL, KEY " latchkey:k10\n"},
		{"# " KEY " latchkey:k1\n", "k1", NULL, "# " KEY " latchkey:k1\n"},
	};
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		cleanup_free char *after = set(rows[i].before, rows[i].label, rows[i].line);
		assert_string_equal(after, rows[i].after);
	}
	struct buffer out = {0};
	assert_int_equal(key_lines_set("", 0, "k1", "a\nb", &out), -EINVAL);
	assert_int_equal(key_lines_set("", 0, "k1", "a\rb", &out), -EINVAL);
}

static void expiry_is_read_from_the_options_only(void **state)
{
	static const struct {
		const char *line;
		int64_t expected; /* -1: none */
	} rows[] = {
		{"expiry-time=\"20300102030405Z\" " KEY, 1893553445},
		{"from=\"::1\",expiry-time=\"20300102030405Z\" " KEY, 1893553445},
		{"expiry-time=\"20300102030405\" " KEY, -1}, /* sshd's local time */
		{"expiry-time=\"20300102Z\" " KEY, -1},
		{"expiry-time=\"2030010203", -1},
		{KEY " expiry-time=\"20300102030405Z\" latchkey:k1", -1},
		{KEY, -1},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		struct key_line line = line_of(rows[i].line);
		int64_t when = -1;
		bool found = key_line_expiry(&line, &when);
		assert_int_equal(found ? when : -1, rows[i].expected);
	}
}

/* A small generator of its own: the same files on every machine. */
static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static void P44_unmanaged_bytes_in_are_unmanaged_bytes_out(void **state)
{
	static const char *const pieces[] = {"\n", "\r\n", "#", " ", KEY, KEY " latchkey:x1", " latchkey:x1", "\xff",
		"\"", "from=\"", "ssh-rsa ", "latchkey:", "a"};
	uint32_t seed = 11;

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		char text[2048] = "";
		size_t used = 0;
		for (uint32_t i = next_random(&seed) % 20; i > 0; i--) {
			const char *piece = pieces[next_random(&seed) % ELEMENTS(pieces)];
			memcpy(text + used, piece, strlen(piece) + 1); /* 20 × 93 bytes fit */
			used += strlen(piece);
		}
		cleanup_free char *one = set(text, "k1", KEY " latchkey:k1");
		cleanup_free char *two = set(one, "k2", OTHER " c latchkey:k2");
		cleanup_free char *three = set(two, "k1", OTHER " latchkey:k1");
		cleanup_free char *four = set(three, "k2", NULL);
		cleanup_free char *five = set(four, "k1", NULL);
		assert_string_equal(five, text);
		assert_int_equal(
			strncmp(two, OTHER " c latchkey:k2\n" KEY " latchkey:k1\n", strlen(two) - strlen(text)), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ours_ends_in_the_mark),
		cmocka_unit_test(T18_a_key_is_found_behind_any_options),
		cmocka_unit_test(ours_stand_before_the_first_byte),
		cmocka_unit_test(expiry_is_read_from_the_options_only),
		cmocka_unit_test(P44_unmanaged_bytes_in_are_unmanaged_bytes_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
