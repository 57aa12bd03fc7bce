/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "plugins/login/ban.h"

#define SIXTY_FOUR "jail567890123456789012345678901234567890123456789012345678901234"
#define FOUR "'a', 'b', 'c', 'd'"

static void jails_are_read_as_they_stand(void **state)
{
	struct ban_names jails;
	(void)state;

	assert_int_equal(ban_read_jails("[[]]\n", &jails), 0);
	assert_int_equal(jails.count, 0);
	assert_int_equal(ban_read_jails("[['sshd']]\n", &jails), 0);
	assert_int_equal(jails.count, 1);
	assert_string_equal(jails.names[0], "sshd");
	assert_int_equal(ban_read_jails("[['sshd', 'web-1.x_y']]\n", &jails), 0);
	assert_int_equal(jails.count, 2);
	assert_string_equal(jails.names[1], "web-1.x_y");
	assert_int_equal(ban_read_jails("[['" SIXTY_FOUR "']]\n", &jails), 0);
	assert_string_equal(jails.names[0], SIXTY_FOUR);
	assert_int_equal(ban_read_jails("[[" FOUR ", " FOUR ", " FOUR ", " FOUR "]]\n", &jails), 0);
	assert_int_equal(jails.count, BAN_NAMES_MAX);
}

static void P35_anything_else_is_unknown(void **state)
{
	static const char *const texts[] = {"", "\n", "[]\n", "[[]]", "[[]]\n\n", "[[], []]\n", "[['sshd'], []]\n",
		"[['sshd']\n", "[['sshd',]]\n", "[['sshd' 'web']]\n", "[['sshd','web']]\n", "[['sshd', ]]\n",
		"[['']]\n", "[['-x']]\n", "[['a b']]\n", "[['a;b']]\n", "[['a\\'b']]\n", "[[\"sshd\"]]\n",
		"[['sshd]]\n", "[['\x1b[2J']]\n", "[['ssh\xc3\xa4']]\n", "[['" SIXTY_FOUR "5']]\n",
		"[[" FOUR ", " FOUR ", " FOUR ", " FOUR ", 'e']]\n", "[{'sshd': ['127.0.0.2']}]\n", "1\n", "sshd\n",
		"WARNING x\n[['sshd']]\n"};
	struct ban_names jails = {.count = 7};
	(void)state;

	for (size_t i = 0; i < ELEMENTS(texts); i++)
		assert_int_equal(ban_read_jails(texts[i], &jails), -EBADMSG);
	assert_int_equal(jails.count, 7);
}

static void actions_are_read_as_they_stand(void **state)
{
#define HEADING "The jail sshd has the following actions:\n"
	static const char *const texts[] = {"", HEADING, HEADING "\n", HEADING "nftables", HEADING "nftables,mail\n",
		HEADING "nftables, \n", HEADING "-x\n", HEADING "nftables\nmail\n", "No actions for jail sshd\n",
		"The jail web has the following actions:\nnftables\n"};
	struct ban_names actions;
	(void)state;

	assert_int_equal(ban_read_actions(HEADING "nftables\n", "sshd", &actions), 0);
	assert_int_equal(actions.count, 1);
	assert_int_equal(ban_read_actions(HEADING "iptables-multiport, sendmail-whois\n", "sshd", &actions), 0);
	assert_int_equal(actions.count, 2);
	assert_string_equal(actions.names[0], "iptables-multiport");
	assert_string_equal(actions.names[1], "sendmail-whois");
	for (size_t i = 0; i < ELEMENTS(texts); i++)
		assert_int_equal(ban_read_actions(texts[i], "sshd", &actions), -EBADMSG);
}

static void only_a_ban_that_reaches_sshd_counts(void **state)
{
	static const struct {
		const char *action, *ports;
		uint16_t sshd[2];
		bool reaches;
	} cases[] = {
		{"nftables", "ssh\n", {22, 0}, true},
		{"nftables", "ssh\n", {2222, 0}, false}, /* sshd has moved, and the jail has not followed */
		{"nftables", "ssh,2222\n", {2222, 0}, true},
		{"nftables", "ssh, sftp\n", {2222, 22}, true},
		{"nftables", "http,https\n", {22, 0}, false},
		{"nftables", "http,22\n", {22, 0}, true},
		{"nftables", "0:65535\n", {22, 0}, true},
		{"nftables", "1024:65535\n", {22, 0}, false},
		{"nftables", "20-25\n", {22, 0}, true},
		{"nftables", "22:\n", {22, 0}, false},
		{"nftables", "2\n", {22, 0}, false},
		{"nftables", "22x\n", {22, 0}, false},
		{"nftables", "65558\n", {22, 0}, false}, /* 22 in sixteen bits */
		{"nftables", "4294967318\n", {22, 0}, false},
		{"nftables", "ssh2\n", {22, 0}, false},
		{"nftables", "1,2:\n", {2, 0}, false},
		{"nftables", ",:-,\n", {22, 0}, false},
		{"nftables", "", {22, 0}, false},
		{"iptables-allports", "http\n", {22, 0}, true},
		{"iptables-allports-x", "http\n", {22, 0}, false},
		{"mail", "", {22, 0}, false},
	};
	(void)state;

	for (size_t i = 0; i < ELEMENTS(cases); i++)
		assert_int_equal(ban_reaches(cases[i].action, cases[i].ports, cases[i].sshd, cases[i].sshd[1] ? 2 : 1),
			cases[i].reaches);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jails_are_read_as_they_stand),
		cmocka_unit_test(P35_anything_else_is_unknown),
		cmocka_unit_test(actions_are_read_as_they_stand),
		cmocka_unit_test(only_a_ban_that_reaches_sshd_counts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
