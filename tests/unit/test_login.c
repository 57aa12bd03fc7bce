/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/blocker.h"
#include "lib/key_line.h"
#include "lib/pattern.h"
#include "plugins/login/server.h"

#define KEY "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"

static void patterns(void **state)
{
	static const struct {
		const char *text, *pattern;
		bool matches;
	} cases[] = {
		{"alice", "alice", true},
		{"alice", "a*", true},
		{"alice", "*e", true},
		{"alice", "a*i*e", true},
		{"alice", "al?ce", true},
		{"alice", "al?e", false},
		{"alice", "Alice", false},
		{"", "*", true},
		{"", "?", false},
		{"aaab", "*a*b", true},
		{"alice", "", false},
		{"a[b]", "a[b]", true},
	};
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++)
		assert_int_equal(pattern_matches(cases[i].text, cases[i].pattern), cases[i].matches);
}

static void addresses(void **state)
{
	static const struct {
		const char *address, *list;
		bool matches;
	} cases[] = {
		{"10.1.2.3", "10.0.0.0/8", true},
		{"11.1.2.3", "10.0.0.0/8", false},
		{"10.1.2.3", "10.1.2.0/23", true},
		{"10.1.4.3", "10.1.2.0/23", false},
		{"10.1.2.3", "10.*", true},
		{"10.1.2.3", "10.*,!10.1.*", false},
		{"10.1.2.3", "!10.1.*,10.*", false},
		{"10.1.2.3", "!11.*", false},
		{"2001:db8::1", "2001:db8::/32", true},
		{"2001:db9::1", "2001:db8::/32", false},
		{"10.1.2.3", "10.0.0.0/33", false},
		{"10.1.2.3", "10.0.0.0/x", false},
		{"10.1.2.3", "0.0.0.0/0", true},
		{"10.1.2.3", "::/0", false},
		{"10.1.2.3", "", false},
		{"10.1.2.3", "x,,10.1.2.3", true},
	};
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++)
		assert_int_equal(pattern_list_matches_address(cases[i].list, cases[i].address), cases[i].matches);
	assert_true(pattern_matches_user("alice", NULL, "alice@10.*", false));
	assert_false(pattern_matches_user("alice", NULL, "alice@10.*", true));
	assert_true(pattern_matches_user("alice", "10.0.0.1", "alice@10.*", true));
	assert_false(pattern_matches_user("bob", "10.0.0.1", "alice@10.*", false));
}

static void P53_lists_that_leave_nobody(void **state)
{
	static const struct {
		const char *list;
		bool names, leaves;
	} cases[] = {
		{"*", false, true},
		{"192.0.2.1", false, true},
		{"2001:db8::/32", false, true},
		{"!10.0.0.1,*", false, true},
		{"*,!0.0.0.0/0", false, true}, /* IPv6 is left */
		{"*,!0.0.0.0/0,!::/0", false, false},
		{"!*", false, false},
		{"!*,192.0.2.1", false, false},
		{"!10.0.0.1", false, false}, /* denies, and names nobody */
		{"", false, false},
		{",", false, false},
		{"host.example", false, false},
		{"*.example", false, false},
		{"host.example", true, true},
		{"host.example,192.0.2.*", false, true},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(pattern_list_leaves_some_address(cases[i].list, cases[i].names), cases[i].leaves);
}

static void key_lines(void **state)
{
	static const struct {
		const char *line;
		int result;
		bool expires, command, authority;
		const char *from;
	} cases[] = {
		{KEY, 0, false, false, false, NULL},
		{"  \t" KEY " anna@host latchkey:k1\r", 0, false, false, false, NULL},
		{"restrict,pty " KEY, 0, false, false, false, NULL},
		{"NO-PTY,From=\"10.0.0.0/8,x\" " KEY, 0, false, false, false, "10.0.0.0/8,x"},
		{"command=\"a \\\"b\\\", c\",no-touch-required " KEY, 0, false, true, false, NULL},
		{"expiry-time=\"20300101Z\",expiry-time=\"20290101000000Z\" " KEY, 0, true, false, false, NULL},
		{"cert-authority,principals=\"x\" " KEY, 0, false, false, true, NULL},
		{"", -ENODATA, false, false, false, NULL},
		{"# " KEY, -ENODATA, false, false, false, NULL},
		{"nonsense " KEY, -EBADMSG, false, false, false, NULL},
		{"from=x " KEY, -EBADMSG, false, false, false, NULL},
		{"from=\"x " KEY, -EBADMSG, false, false, false, NULL},
		{"from=\"x\",from=\"y\" " KEY, -EBADMSG, false, false, false, NULL},
		{"expiry-time=\"tomorrow\" " KEY, -EBADMSG, false, false, false, NULL},
		{"no-from=\"x\" " KEY, -EBADMSG, false, false, false, NULL},
		{"pty;" KEY, -EBADMSG, false, false, false, NULL},
		{"no-restrict " KEY, -EBADMSG, false, false, false, NULL},
		{"no-cert-authority " KEY, -EBADMSG, false, false, false, NULL},
		{"from=\"10.0.0.1/8\" " KEY, -EBADMSG, false, false, false, NULL},
		{"from=\"*,10.0.0.0/33\" " KEY, -EBADMSG, false, false, false, NULL},
		{"from=\"*,,x\" " KEY, -EBADMSG, false, false, false, NULL},
		{"from=\"!10.0.0.0/8,*,::/0\" " KEY, 0, false, false, false, "!10.0.0.0/8,*,::/0"},
		{"command=\"x\",command=\"y\" " KEY, -EBADMSG, false, false, false, NULL},
		{"environment=\"A\" " KEY, -EBADMSG, false, false, false, NULL},
		{"environment=\"A-B=c\" " KEY, -EBADMSG, false, false, false, NULL},
		{"environment=\"A=b\",environment=\"A=c\" " KEY, 0, false, false, false, NULL},
		{"permitopen=\"x\" " KEY, -EBADMSG, false, false, false, NULL},
		{"permitopen=\"x:0\" " KEY, -EBADMSG, false, false, false, NULL},
		{"permitopen=\"x:65536\" " KEY, -EBADMSG, false, false, false, NULL},
		{"permitopen=\"[::1]:22\",permitopen=\"x:*\" " KEY, 0, false, false, false, NULL},
		{"permitlisten=\"8080\" " KEY, 0, false, false, false, NULL},
		{"permitlisten=\"a:b:c\" " KEY, -EBADMSG, false, false, false, NULL},
		{"tunnel=\"abc\" " KEY, -EBADMSG, false, false, false, NULL},
		{"tunnel=\"any\",tunnel=\"3\" " KEY, 0, false, false, false, NULL},
		{"ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl", -EBADMSG, false, false,
			false, NULL},
		{"ssh-ed25519 AAAA", -EBADMSG, false, false, false, NULL},
		{"ssh-ed25519", -EBADMSG, false, false, false, NULL},
	};
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		cleanup_key_line struct key_line line = {0};
		assert_int_equal(key_line_parse(cases[i].line, strlen(cases[i].line), &line), cases[i].result);
		if (cases[i].result < 0)
			continue;
		assert_string_equal(line.fingerprint, "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU");
		assert_int_equal(line.expires, cases[i].expires);
		assert_int_equal(line.has_command, cases[i].command);
		assert_int_equal(line.is_authority, cases[i].authority);
		if (cases[i].from)
			assert_string_equal(line.from, cases[i].from);
		else
			assert_null(line.from);
		if (line.expires)
			assert_int_equal(line.expiry, 1861920000); /* the earlier one */
	}
}

/* Where sshd ends a line. */
static void a_nul_is_no_blank(void **state)
{
	static const char line[] = "\0" KEY;
	cleanup_key_line struct key_line parsed = {0};

	(void)state;
	assert_int_equal(key_line_parse(line, sizeof(line) - 1, &parsed), -EBADMSG);
}

static void T29_expiry_times(void **state)
{
	static const struct {
		const char *text;
		int64_t time; /* -1: refused */
	} cases[] = {
		{"19700101Z", 0},
		{"203801190314Z", 2147483640},
		{"20380119031408Z", 2147483648},
		{"99991231235959Z", 253402300799},
		{"2030010Z", -1},
		{"203001011Z", -1},
		{"20301301Z", -1},
		{"20300100Z", -1},
		{"2030010124Z", -1},
		{"202001012500Z", -1},
		{"20300101ZZ", -1},
		{"", -1},
		{"-20300101Z", -1},
		{"20300101 Z", -1},
	};
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		int64_t time = -1;
		int r = key_line_parse_time(cases[i].text, &time);
		assert_int_equal(r, cases[i].time < 0 ? -EBADMSG : 0);
		assert_int_equal(time, cases[i].time);
	}
}

static void T35_authentication_methods(void **state)
{
	static const struct {
		const char *methods;
		struct ways ways;
		bool way;
	} cases[] = {
		{"any", {.key = true, .keys = 1}, true},
		{"any", {.keyboard = true}, true},
		{"any", {.key = false}, false},
		{"publickey", {.key = true, .keys = 1}, true},
		{"publickey,publickey", {.key = true, .keys = 1}, false},
		{"publickey,publickey", {.key = true, .keys = 2}, true},
		{"publickey,password", {.key = true, .keys = 1}, false},
		{"publickey,password", {.key = true, .keys = 1, .password = true}, true},
		{"publickey,password publickey,keyboard-interactive:pam", {.key = true, .keys = 1, .keyboard = true},
			true},
		{"gssapi-with-mic", {.key = true, .keys = 1, .password = true, .keyboard = true}, false},
	};
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		struct sshd_value value = {"authenticationmethods", cases[i].methods};
		const struct sshd_effective effective = {&value, 1, false};
		assert_int_equal(server_methods_leave_a_way(&effective, &cases[i].ways), cases[i].way);
	}
}

static void every_blocker_says_what_helps(void **state)
{
	const struct blocker_names names = {"alice", "vm-1", "192.0.2.7"};
	(void)state;
	for (unsigned i = 0; i < BLOCKER_COUNT; i++) {
		assert_true(strlen(blocker_sentence((enum blocker)i)) > 10);
		cleanup_buffer struct buffer here = {0}, console = {0}, fix = {0};
		blocker_put_fix((enum blocker)i, &names, &fix);
		assert_int_equal(buffer_status(&fix), 0);
		assert_true(fix.size > 8 && !strstr(fix.bytes, "USER") && !strstr(fix.bytes, "INSTANCE") &&
			    !strstr(fix.bytes, "ADDRESS"));
		enum blocker found;
		blocker_put_guest_command((enum blocker)i, &names, &here);
		assert_int_equal(buffer_status(&here), 0);
		assert_true(here.size > 5 && !strstr(here.bytes, "USER") && !strchr(here.bytes, '{'));
		if (blocker_put_console_command((enum blocker)i, &names, &console)) {
			assert_int_equal(buffer_status(&console), 0);
			assert_int_equal(strncmp(console.bytes, "latchkey ", 9), 0);
			assert_non_null(strstr(console.bytes, " vm-1"));
			assert_null(strpbrk(console.bytes, "{},"));
			assert_null(strstr(console.bytes, "USER"));
			assert_non_null(strstr(fix.bytes, console.bytes)); /* what 325-blockers runs */
		}
		assert_int_equal(blocker_from_code(blocker_code((enum blocker)i), &found), 0);
		assert_int_equal(found, i);
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(blocker_code((enum blocker)i), blocker_code((enum blocker)j));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(patterns),
		cmocka_unit_test(addresses),
		cmocka_unit_test(P53_lists_that_leave_nobody),
		cmocka_unit_test(key_lines),
		cmocka_unit_test(a_nul_is_no_blank),
		cmocka_unit_test(T29_expiry_times),
		cmocka_unit_test(T35_authentication_methods),
		cmocka_unit_test(every_blocker_says_what_helps),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
