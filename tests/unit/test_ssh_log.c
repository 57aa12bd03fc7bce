/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of ssh -v that 231-explain.py cannot provoke with the client and server at hand, and lines that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/ctl/ssh_log.h"

#define KEY "ED25519 SHA256:aCmDZrXS3c3uQJc+aWHqTA3g5qlhgPLky1t8gJaS1b8"
#define FOUND(name) (UINT32_C(1) << (unsigned)SSH_LOG_##name)

static struct ssh_log read_text(const char *text)
{
	struct ssh_log log;
	ssh_log_read(text, strlen(text), &log);
	return log;
}

static void an_old_server_and_an_rsa_key(void **state)
{
	(void)state;
	struct ssh_log log = read_text("debug1: Authenticating to h:22 as 'alice'\n"
				       "debug1: Offering public key: /home/a b/id RSA "
				       "SHA256:aCmDZrXS3c3uQJc+aWHqTA3g5qlhgPLky1t8gJaS1b8 agent\r\n"
				       "debug1: send_pubkey_test: no mutual signature algorithm\n"
				       "alice@h: Permission denied (publickey).\n");
	assert_int_equal(log.key_count, 1);
	assert_int_equal(log.keys[0].state, SSH_LOG_KEY_NO_ALGORITHM);
	assert_int_equal(log.end, SSH_LOG_DENIED);
	assert_true(log.found & FOUND(NO_SIGNATURE));
	assert_string_equal(log.methods, "publickey");
}

/* OpenSSH 10: what the server does not take is not offered. */
static void a_key_that_is_skipped(void **state)
{
	(void)state;
	struct ssh_log log =
		read_text("debug1: Authenticating to h:22 as 'alice'\n"
			  "debug1: Authentications that can continue: publickey,password\n"
			  "debug1: Skipping ssh-rsa key /home/a/id - corresponding algorithm not supported "
			  "by server\n"
			  "alice@h: Permission denied (publickey,password).\n");
	assert_int_equal(log.found, FOUND(NO_SIGNATURE) | FOUND(NO_KEY_OFFERED) | FOUND(DENIED));
}

static void turned_away(void **state)
{
	static const char *const words[] = {"Not allowed at this time", "Exceeded MaxStartups"};
	char text[256];

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		(void)snprintf(text, sizeof(text),
			"debug1: kex_exchange_identification: banner line 0: %s\n"
			"kex_exchange_identification: Connection closed by remote host\n",
			words[i]);
		assert_int_equal(read_text(text).end, SSH_LOG_TURNED_AWAY);
	}
}

static void an_agent_that_does_not_sign(void **state)
{
	(void)state;
	struct ssh_log log = read_text(
		"debug1: Offering public key: me " KEY " agent\n"
		"debug1: Server accepts key: me " KEY " agent\n"
		"sign_and_send_pubkey: signing failed for ED25519 \"me\" from agent: agent refused operation\n"
		"bob@h: Permission denied (publickey).\n");
	assert_int_equal(log.found, FOUND(SIGNING_FAILED) | FOUND(DENIED));
	assert_string_equal(log.user, "bob");
}

static void a_disconnect_with_a_reason(void **state)
{
	(void)state;
	struct ssh_log log =
		read_text("debug2: x\nReceived disconnect from 192.0.2.1 port 22:2: Too many authentication failures\n"
			  "Disconnected from 192.0.2.1 port 22\n");
	assert_int_equal(log.end, SSH_LOG_TOO_MANY);
	assert_false(log.found & FOUND(MANY_KEYS)); /* no key was offered: passwords */
}

static void what_only_looks_like_it(void **state)
{
	(void)state;
	struct ssh_log log = read_text("remote says: Permission denied (publickey)x\nI write Authenticated to h\n"
				       "Offering public key: x " KEY "\ndebug9: Offering public key: x " KEY "\n"
				       "debug1: Offering public key: x ED25519 SHA256:short\n");
	assert_int_equal(log.key_count, 0);
	assert_false(log.found & FOUND(AUTHENTICATED));
}

static void more_keys_than_are_kept_and_a_name_too_long(void **state)
{
	(void)state;
	static char text[200000];
	size_t size = 0;
	for (unsigned i = 0; i < 100; i++)
		size += (size_t)snprintf(text + size, sizeof(text) - size,
			"debug1: Offering public key: k ED25519 SHA256:%c%cmDZrXS3c3uQJc+aWHqTA3g5qlhgPLky1t8gJaS1b8 "
			"agent\n",
			'A' + (int)(i % 26), 'a' + (int)(i / 26));
	size += (size_t)snprintf(text + size, sizeof(text) - size, "debug1: Authenticating to h:22 as '");
	memset(text + size, 'a', 100000);
	struct ssh_log log;
	ssh_log_read(text, size + 100000, &log);
	assert_int_equal(log.key_count, SSH_LOG_KEYS_MAX);
	assert_int_equal(strlen(log.user), sizeof(log.user) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_old_server_and_an_rsa_key),
		cmocka_unit_test(a_key_that_is_skipped),
		cmocka_unit_test(turned_away),
		cmocka_unit_test(an_agent_that_does_not_sign),
		cmocka_unit_test(a_disconnect_with_a_reason),
		cmocka_unit_test(what_only_looks_like_it),
		cmocka_unit_test(more_keys_than_are_kept_and_a_name_too_long),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
