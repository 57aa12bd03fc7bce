/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/ctl/redact.h"

static void what_goes_and_what_stays(void **state)
{
	static const char *const secrets[] = {"horse", NULL};
	static const struct {
		const char *text, *expected;
	} rows[] = {
		{"url = https://anna:hunter2@h.example:8443/x?token=abc&z=1 end",
			"url = https://[redacted]@h.example:8443/x[redacted] end"},
		{"password = correct", "password = [redacted]"},
		{"{\"token\":\"abc\",\"n\":1}", "{\"token\":\"[redacted]\",\"n\":1}"},
		{"url = https://anna:hun@ter/2@h.example/x", "url = https://[redacted]@h.example/x"},
		{"proxy = anna:hunter2@proxy.example:3128", "proxy = [redacted]@proxy.example:3128"},
		{"password = \"correct horse, staple\" # mine", "password = \"[redacted]\" # mine"},
		{"password = correct horse, staple", "password = [redacted]"},
		{"  # pass: correct horse", "  # pass: [redacted]"},
		{"with token=abc,def&g user=alice", "with token=[redacted] user=alice"},
		{"{\"detail\":\"x\",\"db_password\":\"a \\\" b\",\"n\":1}",
			"{\"detail\":\"x\",\"db_password\":\"[redacted]\",\"n\":1}"},
		{"{\"adminPassword\":\"a b\"}", "{\"adminPassword\":\"[redacted]\"}"},
		{"{\"detail\":\"{\\\"secret\\\":\\\"a b\\\"}\"}", "{\"detail\":\"{\\\"secret\\\":\\\"[redacted]\"}"},
		{"CLIENT_SECRET=a", "CLIENT_SECRET=[redacted]"},
		{"enrol_secret: a b", "enrol_secret: [redacted]"},
		{"see dGhpcyBp-cyBhIHRv_2VuIHdp-HQ today", "see [redacted] today"},
		{"Authorization: Bearer abc.def", "Authorization: Bearer [redacted]"},
		{"alice:$6$salt$abc/def.:19000:", "alice:[redacted]:19000:"},
		{"$y$j9T$x$y", "[redacted]"},
		{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJabcdefghijklmnop/+== me", "ssh-ed25519 [redacted] me"},
		{"digest 0123456789abcdef0123456789abcdef", "digest [redacted]"},
		{"a horse here", "a [redacted] here"},
		{"xhorsex", "x[redacted]x"},
		/* and what somebody who helps must see */
		{"key SHA256:aCmDZrXS3c3uQJc+aWHqTA3g5qlhgPLky1t8gJaS1b8 of alice",
			"key SHA256:aCmDZrXS3c3uQJc+aWHqTA3g5qlhgPLky1t8gJaS1b8 of alice"},
		{"instance 4c4c4544-0051-3010-8048-b8c04f595931", "instance 4c4c4544-0051-3010-8048-b8c04f595931"},
		{"diagnose alice: ok: key: no, no_password: no usable password is set",
			"diagnose alice: ok: key: no, no_password: [redacted] usable password is set"},
		{"latchkey-document@1 of user@host.example: 16:01:02",
			"latchkey-document@1 of user@host.example: 16:01:02"},
		{"passwordauthentication no", "passwordauthentication no"},
		{"\"password\":{\"can\":false}", "\"password\":{\"can\":false}"},
		{"password.set alice ok", "password.set alice ok"},
		{"/etc/ssh/sshd_config.d/00-latchkey.conf", "/etc/ssh/sshd_config.d/00-latchkey.conf"},
		{"sk-ecdsa-sha2-nistp256-cert-v01@openssh.com,sntrup761x25519-sha512",
			"sk-ecdsa-sha2-nistp256-cert-v01@openssh.com,sntrup761x25519-sha512"},
		{"would_lock_out_because_of_a_long_word", "would_lock_out_because_of_a_long_word"},
		{"\x1b[2J\xff", "\\x1b[2J\\xff"},
	};
	(void)state;

	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		cleanup_buffer struct buffer out = {0};
		redact(rows[i].text, strlen(rows[i].text), secrets, &out);
		assert_int_equal(buffer_status(&out), 0);
		out.bytes[out.size - 1] = '\0';
		assert_string_equal(out.bytes, rows[i].expected);
	}
}

static void blocks_go_whole(void **state)
{
	static const char text[] =
		"a\nx -----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn\nshort\n-----END OPENSSH PRIVATE KEY-----\nb\n"
		"-----BEGIN ONE THAT DOES NOT END-----\nsecret\n";
	cleanup_buffer struct buffer out = {0};
	(void)state;

	redact(text, sizeof(text) - 1, NULL, &out);
	assert_int_equal(buffer_status(&out), 0);
	assert_string_equal(out.bytes, "a\n[redacted]\nb\n[redacted]\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_goes_and_what_stays),
		cmocka_unit_test(blocks_go_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
