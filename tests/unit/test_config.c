/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#include "lib/config.h"

static const struct config_key keys[] = {
	{"users", "root", CONFIG_YES_NO, NULL, "no", "", false},
	{"users", "allow", CONFIG_LIST, NULL, "*", "", false},
	{"password", "min", CONFIG_INTEGER, "1:128", "8", "", false},
	{"policy", "mode", CONFIG_CHOICE, "enforce|observe|off", "enforce", "", false},
	{"signer", "commands", CONFIG_LIST, NULL, NULL, "", true},
};
static const struct config_table table = {keys, 5};

static int parse(struct config *config, const char *text, char error[CONFIG_ERROR_MAX])
{
	error[0] = '\0';
	assert_int_equal(config_initialise(&table, config), 0);
	return config_parse(config, "policy.conf", text, strlen(text), error);
}

static void defaults_and_values(void **state)
{
	cleanup_config struct config config = {0};
	char error[CONFIG_ERROR_MAX];

	(void)state;
	assert_int_equal(parse(&config,
				 "# a comment\n\n[users]\nallow = alice  b*  !bob \n[password]\nmin=12\n"
				 "[signer help*]\ncommands = keys.*\n",
				 error),
		0);
	assert_false(config_yes(&config, "users", "root"));
	assert_string_equal(config_source(&config, "users", "root"), "default");
	assert_int_equal(config_integer(&config, "password", "min"), 12);
	assert_string_equal(config_source(&config, "password", "min"), "policy.conf:6");
	const char *allow = config_text(&config, "users", "allow");
	assert_true(config_list_allows(allow, "alice"));
	assert_true(config_list_allows(allow, "berta"));
	assert_false(config_list_allows(allow, "bob"));
	assert_false(config_list_allows(allow, "carol"));
	assert_string_equal(config_named_text(&config, "signer", "help*", "commands"), "keys.*");
	assert_null(config_named_text(&config, "signer", "ops", "commands"));
}

static void a_drop_in_replaces_single_keys(void **state)
{
	static const char first[] = "[users]\nroot = no\n[signer a]\ncommands = x\n[signer b]\ncommands = y\n";
	static const char second[] = "[users]\nroot = yes\n[signer a]\ncommands = z\n";
	static const char twice[] = "[signer a]\ncommands = x\n[signer a]\ncommands = y\n";
	cleanup_config struct config config = {0};
	char error[CONFIG_ERROR_MAX];

	(void)state;
	assert_int_equal(parse(&config, first, error), 0);
	assert_int_equal(config_parse(&config, "drop-in.conf", second, strlen(second), error), 0);
	assert_true(config_yes(&config, "users", "root"));
	assert_string_equal(config_source(&config, "users", "root"), "drop-in.conf:2");
	assert_string_equal(config_named_text(&config, "signer", "a", "commands"), "z");
	assert_string_equal(config_named_text(&config, "signer", "b", "commands"), "y");
	assert_int_equal(config_parse(&config, "twice.conf", twice, strlen(twice), error), -EBADMSG);
}

static void P109_a_file_that_is_not_exact_is_refused_whole(void **state)
{
	static const struct {
		const char *text, *where;
	} bad[] = {
		{"[users]\n root = yes\n", "policy.conf:2:"},
		{"[users]\n\troot = yes\n", "policy.conf:2:"},
		{"[users]\nroot = yes\nroot = yes\n", "policy.conf:3:"},
		{"[users]\nroot = maybe\n", "policy.conf:2:"},
		{"[users]\nroot = YES\n", "policy.conf:2:"},
		{"[users]\nroot\n", "policy.conf:2:"},
		{"[users]\nRoot = no\n", "policy.conf:2:"},
		{"root = yes\n", "policy.conf:1:"},
		{"[nothing]\n", "policy.conf:1:"},
		{"[users\nroot = yes\n", "policy.conf:1:"},
		{"[users] \nroot = no\n", "policy.conf:1:"},
		{"[users x]\n", "policy.conf:1:"},
		{"[signer]\n", "policy.conf:1:"},
		{"[signer a b]\n", "policy.conf:1:"},
		{"[password]\nmin = 0\n", "policy.conf:2:"},
		{"[password]\nmin = 129\n", "policy.conf:2:"},
		{"[password]\nmin = 08\n", "policy.conf:2:"},
		{"[password]\nmin = 8 # why\n", "policy.conf:2:"},
		{"[users]\nroot = no\r\n", "policy.conf:2:"},
		{"[users]\nallow = a\x1b[31m\n", "policy.conf:2:"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cleanup_config struct config config = {0};
		char error[CONFIG_ERROR_MAX];
		if (parse(&config, bad[i].text, error) != -EBADMSG)
			fail_msg("taken: %s", bad[i].text);
		if (strncmp(error, bad[i].where, strlen(bad[i].where)) != 0)
			fail_msg("%s: %s", bad[i].text, error);
	}
}

/* A well-known small library cuts lines at 200 bytes and reads the rest as a new line. */
static void P109_a_long_comment_stays_a_comment(void **state)
{
	(void)state;
	for (size_t size = 100; size < CONFIG_LINE_MAX + 100; size += 7) {
		cleanup_config struct config config = {0};
		char error[CONFIG_ERROR_MAX], text[2 * CONFIG_LINE_MAX];
		size_t used = (size_t)snprintf(text, sizeof(text), "[users]\n#");
		memset(text + used, 'x', size);
		(void)snprintf(text + used + size, sizeof(text) - used - size, "root = yes\n");
		(void)!parse(&config, text, error);
		assert_false(config_yes(&config, "users", "root"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_and_values),
		cmocka_unit_test(a_drop_in_replaces_single_keys),
		cmocka_unit_test(P109_a_file_that_is_not_exact_is_refused_whole),
		cmocka_unit_test(P109_a_long_comment_stays_a_comment),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
