/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/file.h"
#include "policy/policy.h"

/* A root directory of its own with these files. */
struct tree {
	char path[64];
	int root;
};

static void put(const struct tree *tree, const char *directory, const char *name, const char *text)
{
	cleanup_close int descriptor = -1;
	assert_int_equal(file_make_directory(tree->root, directory, 0755, &descriptor), 0);
	assert_int_equal(file_replace_simple(descriptor, name, text, strlen(text), 0644), 0);
}

static int setup(void **state)
{
	static struct tree tree;

	(void)snprintf(tree.path, sizeof(tree.path), "/tmp/latchkey-policy.XXXXXX");
	if (!mkdtemp(tree.path))
		return -1;
	tree.root = open(tree.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	put(&tree, "etc", "passwd",
		"root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/:/usr/sbin/nologin\n"
		"alice:x:1000:1000::/home/alice:/bin/bash\nimage:x:1001:1001::/home/image:/bin/bash\n"
		"twin:x:1000:1000::/home/twin:/bin/bash\nbob:x:1002:27::/home/bob:/bin/bash\n"
		"dock:x:1003:1003::/home/dock:/bin/bash\nsame:x:1004:999::/home/same:/bin/bash\n"
		"carol:x:1005:1005::/home/carol:/bin/bash\ndora:x:1006:1006::/home/dora:/bin/bash\n"
		"erin:x:1007:1007::/home/erin:/bin/bash\nours:x:1008:1008::/home/ours:/bin/bash\n"
		"nobody:x:65534:65534::/:/usr/sbin/nologin\nfrank:x:1009:1009::/home/frank:/bin/bash\n"
		"pair:x:1010:1010::/:/bin/sh\npartner:x:1010:1010::/:/bin/sh\n"
		"u1:x:1101:1101::/:/bin/sh\nu2:x:1102:1102::/:/bin/sh\nu3:x:1103:1103::/:/bin/sh\n"
		"u4:x:1104:1104::/:/bin/sh\nu5:x:1105:1105::/:/bin/sh\nu6:x:1106:1106::/:/bin/sh\n"
		"u7:x:1107:1107::/:/bin/sh\nu8:x:1108:1108::/:/bin/sh\nu9:x:1109:1109::/:/bin/sh\n"
		"u10:x:1110:1110::/:/bin/sh\nu11:x:1111:1111::/:/bin/sh\nu12:x:1112:1112::/:/bin/sh\n");
	put(&tree, "etc", "group",
		"root:x:0:\nsudo:x:27:\ndocker:x:999:dock\nalice:x:1000:\nusers:x:100:alice,carol\nops:x:2000:dora\n"
		"alias999:x:999:frank\nbig team:x:2001:u6\nlxd:x:2002:\nlxd:x:2003:u12\n");
	put(&tree, "etc", "sudoers",
		"# alice ALL=ALL\nDefaults env_reset\nroot ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL:ALL) ALL\n"
		"User_Alias OPS = erin, \\\n  nobody2\nOPS ALL=ALL\n@includedir /etc/sudoers.d\n%ops ALL=ALL\n"
		"#1010 ALL=ALL\n%crew ALL=ALL\n");
	put(&tree, "etc/sudoers.d", "95-ugly",
		"# a comment \\\nu1 ALL=ALL\nUser_Alias UGLY = u2, \\ \n\tu3\nUGLY ALL=ALL # more \\\nu4 ALL=ALL\n"
		"!!u5 ALL=ALL\n\"%big team\" ALL=ALL\nu\\7 ALL=ALL\n@include /opt/vendor/sudoers\r\n@include beside\n"
		"x , u10 ALL=ALL\n!u11 ALL=ALL\n");
	put(&tree, "etc/sudoers.d", "beside", "u9 ALL=ALL\n");
	put(&tree, "opt/vendor", "sudoers", "u8 ALL=ALL\r\n");
	put(&tree, "etc/sudoers.d", "90-image", "image ALL=(ALL) NOPASSWD:ALL\n");
	put(&tree, "etc/sudoers.d", "skipped.bak", "carol ALL=(ALL) ALL\n");
	put(&tree, "etc/sudoers.d", "latchkey-ours", "ours ALL=(ALL) ALL\n");
	*state = &tree;
	return 0;
}

static int teardown(void **state)
{
	static const char *const files[] = {"etc/passwd", "etc/group", "etc/sudoers", "etc/sudoers.d/90-image",
		"etc/sudoers.d/skipped.bak", "etc/sudoers.d/95-ugly", "etc/sudoers.d/beside", "opt/vendor/sudoers",
		"etc/sudoers.d/latchkey-ours", "etc/latchkey/policy.conf"};
	static const char *const directories[] = {"opt/vendor", "opt", "etc/sudoers.d", "etc/latchkey", "etc"};
	struct tree *tree = *state;

	for (size_t i = 0; i < ELEMENTS(files); i++)
		(void)unlinkat(tree->root, files[i], 0);
	for (size_t i = 0; i < ELEMENTS(directories); i++)
		(void)unlinkat(tree->root, directories[i], AT_REMOVEDIR);
	(void)close(tree->root);
	return rmdir(tree->path);
}

static void P104_privilege_is_seen_through_every_disguise(void **state)
{
	static const struct {
		const char *name;
		bool exists, root, person, privileged;
	} cases[] = {
		{"root", true, true, false, true},
		{"toor", true, true, false, true},
		{"daemon", true, false, false, false},
		{"alice", true, false, true, false},
		{"image", true, false, true, true},
		{"bob", true, false, true, true},
		{"dock", true, false, true, true},
		{"same", true, false, true, true},
		{"carol", true, false, true, false},
		{"dora", true, false, true, true},
		{"erin", true, false, true, true},
		{"ours", true, false, true, false},
		{"frank", true, false, true, true},
		{"pair", true, false, true, true},
		{"partner", true, false, true, true},
		{"nobody", true, false, false, false},
		{"ghost", false, false, true, false},
		{"nobody2", false, false, true, true}, /* whoever is made under that name could become root */
		/* as could who gets a group of that name with it, whether it stands or not */
		{"crew", false, false, true, true},
		{"ops", false, false, true, true},
		{"wheel", false, false, true, true},
		{"alias999", false, false, true, true},
	};
	const struct tree *tree = *state;
	cleanup_resolver struct resolver resolver = {0};

	assert_int_equal(resolver_open(tree->root, &resolver), 0);
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		struct resolved_account account;
		assert_int_equal(resolve_account(&resolver, cases[i].name, -1, &account), 0);
		if (account.exists != cases[i].exists || account.is_root != cases[i].root ||
			account.is_person != cases[i].person || account.privileged != cases[i].privileged)
			fail_msg("%s: exists %d root %d person %d privileged %d (%s)", cases[i].name, account.exists,
				account.is_root, account.is_person, account.privileged, account.reason);
	}
	assert_true(resolve_group_is_privileged(&resolver, "docker"));
	assert_true(resolve_group_is_privileged(&resolver, "alias999"));
	assert_false(resolve_group_is_privileged(&resolver, "users"));
}

/* What cvtsudoers (sudo 1.9.13) reads from the same text. */
static void P104_sudoers_is_read_as_sudo_reads_it(void **state)
{
	const struct tree *tree = *state;
	cleanup_resolver struct resolver resolver = {0};
	struct resolved_account account;
	char name[8];

	assert_int_equal(resolver_open(tree->root, &resolver), 0);
	for (int i = 1; i <= 12; i++) {
		(void)snprintf(name, sizeof(name), "u%d", i);
		assert_int_equal(resolve_account(&resolver, name, -1, &account), 0);
		if (account.privileged != (i != 11))
			fail_msg("%s: privileged %d (%s)", name, account.privileged, account.reason);
	}
}

/* Each user whom we gave sudo has a file of his own there. */
static void P104_many_files_of_ours_are_no_reason_to_stop(void **state)
{
	const struct tree *tree = *state;
	cleanup_resolver struct resolver resolver = {0};
	char name[64];

	for (int i = 0; i < 600; i++) {
		(void)snprintf(name, sizeof(name), "latchkey-user%d", i);
		put(tree, "etc/sudoers.d", name, "x ALL=(ALL:ALL) ALL\n");
	}
	int r = resolver_open(tree->root, &resolver);
	for (int i = 0; i < 600; i++) {
		(void)snprintf(name, sizeof(name), "etc/sudoers.d/latchkey-user%d", i);
		assert_int_equal(unlinkat(tree->root, name, 0), 0);
	}
	assert_int_equal(r, 0);
}

static enum code decide(const struct tree *tree, const char *policy_text, const char *signer, const char *text,
	char detail[DETAIL_MAX + 1])
{
	cleanup_manifest_set struct manifest_set set = {0};
	cleanup_resolver struct resolver resolver = {0};
	cleanup_policy struct policy policy = {0};
	cleanup_json cJSON *command = NULL;
	struct resolved_account account = {0};
	const char *name, *user = NULL;

	put(tree, "etc/latchkey", "policy.conf", policy_text);
	assert_int_equal(policy_load(tree->root, &policy), 0);
	if (policy.broken)
		fail_msg("%s", policy.error);
	assert_int_equal(manifest_set_load(&set), 0);
	assert_int_equal(resolver_open(tree->root, &resolver), 0);
	assert_int_equal(json_parse_object(text, strlen(text), &command), 0);
	assert_int_equal(json_get_string(command, "do", &name), 0);
	const struct manifest_command *row = manifest_find(&set, name);
	assert_int_equal(manifest_check(row, command, detail), CODE_OK);
	if (json_get_string(command, "user", &user) == 0)
		assert_int_equal(resolve_account(&resolver, user, -1, &account), 0);
	return policy_decide(&policy, signer, row, command, user ? &account : NULL, detail);
}

static void P34_decisions_and_the_rules_they_name(void **state)
{
	static const struct {
		const char *policy, *signer, *command;
		enum code code;
		const char *rule;
	} cases[] = {
		{"", "ops", "{\"do\":\"user.lock\",\"user\":\"alice\"}", CODE_OK, ""},
		{"", "ops", "{\"do\":\"user.lock\",\"user\":\"root\"}", CODE_PRIVILEGED, "[users] root = no (default)"},
		{"[users]\nroot = yes\n", "ops", "{\"do\":\"user.lock\",\"user\":\"root\"}", CODE_OK, ""},
		{"", "ops", "{\"do\":\"user.lock\",\"user\":\"daemon\"}", CODE_SYSTEM_ACCOUNT, "UID_MIN"},
		{"", "ops", "{\"do\":\"user.lock\",\"user\":\"nobody\"}", CODE_SYSTEM_ACCOUNT, "UID_MIN"},
		{"", "ops", "{\"do\":\"user.lock\",\"user\":\"image\"}", CODE_PRIVILEGED, "sudoers.d/90-image:1"},
		{"[users]\nprivileged = allow\n", "ops", "{\"do\":\"user.lock\",\"user\":\"image\"}", CODE_OK, ""},
		{"[users]\nallow = * !alice\n", "ops", "{\"do\":\"user.lock\",\"user\":\"alice\"}", CODE_POLICY,
			"policy.conf:2"},
		{"[users]\ncreate = no\n", "ops", "{\"do\":\"user.ensure\",\"user\":\"ghost\"}", CODE_POLICY,
			"[users] create"},
		{"", "ops", "{\"do\":\"user.ensure\",\"user\":\"ghost\",\"groups\":[\"docker\"]}", CODE_POLICY,
			"[groups] allow"},
		{"[groups]\nallow = docker\n", "ops",
			"{\"do\":\"user.ensure\",\"user\":\"ghost\",\"groups\":[\"docker\"]}", CODE_OK, ""},
		{"", "ops", "{\"do\":\"user.ensure\",\"user\":\"ghost\",\"sudo\":\"password\"}", CODE_POLICY,
			"[sudo] most"},
		{"[sudo]\nmost = password\n", "ops",
			"{\"do\":\"user.ensure\",\"user\":\"ghost\",\"sudo\":\"nopasswd\"}", CODE_POLICY,
			"[sudo] most"},
		{"[policy]\ncommands = * !user.lock\n", "ops", "{\"do\":\"user.lock\",\"user\":\"alice\"}", CODE_POLICY,
			"[policy] commands"},
		{"", NULL, "{\"do\":\"user.lock\",\"user\":\"alice\"}", CODE_UNSIGNED, "[unsigned] commands"},
		{"[unsigned]\ncommands = user.*\n", NULL, "{\"do\":\"user.lock\",\"user\":\"alice\"}", CODE_OK, ""},
		{"[signer help*]\ncommands = password.*\n", "helpdesk", "{\"do\":\"user.lock\",\"user\":\"alice\"}",
			CODE_SIGNER, "[signer help*] commands"},
		{"[signer help*]\ncommands = password.*\n", "ops", "{\"do\":\"user.lock\",\"user\":\"alice\"}", CODE_OK,
			""},
		{"", "ops", "{\"do\":\"user.lock\",\"user\":\"alice\",\"accept_lockout\":true}", CODE_POLICY,
			"accept_lockout"},
		{"", "ops", "{\"do\":\"password.set\",\"user\":\"alice\",\"hash\":\"$6$x$y\"}", CODE_CLEAR_HASH,
			"clear_hash"},
		{"", "ops",
			"{\"do\":\"keys.bind\",\"user\":\"alice\",\"keypair\":\"a\",\"key\":\"k\",\"location\":"
			"\"system\"}",
			CODE_POLICY, "[keys] locations"},
		{"", "ops", "{\"do\":\"diagnose\",\"user\":\"root\"}", CODE_OK, ""},
	};

	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		char detail[DETAIL_MAX + 1];
		enum code code = decide(*state, cases[i].policy, cases[i].signer, cases[i].command, detail);
		if (code != cases[i].code || !strstr(detail, cases[i].rule))
			fail_msg("%s under '%s': %s: %s", cases[i].command, cases[i].policy, code_name(code), detail);
	}
}

static void P109_a_broken_policy_observes(void **state)
{
	const struct tree *tree = *state;
	cleanup_policy struct policy policy = {0};

	put(tree, "etc/latchkey", "policy.conf", "[users]\nroot = yes\nroot = yes\n");
	assert_int_equal(policy_load(tree->root, &policy), 0);
	assert_true(policy.broken);
	assert_int_equal(policy_mode(&policy), POLICY_OBSERVE);
	assert_false(config_yes(&policy.config, "users", "root"));
}

/* The number by which the account plugin sees under the lock that the account is no longer the one decided on. */
static void P104_a_stamp_tells_when_the_verdict_may_be_another(void **state)
{
	static const char *const changes[][2] = {
		{"passwd", "carol:x:1005:1005::/:/bin/sh\nother:x:1005:1005::/:/bin/sh\n"},
		{"passwd", "carol:x:1005:27::/:/bin/sh\n"},
		{"passwd", "carol:x:0:1005::/:/bin/sh\n"},
		{"group", "users:x:100:carol\nsudo:x:27:carol\n"},
		{"group", "users:x:100:alice\n"},
		{"group", "users:x:999:carol\n"},
		{"sudoers", "carol ALL=ALL\n"},
	};
	const struct tree *tree = *state;

	for (size_t i = 0; i < ELEMENTS(changes) + 1; i++) {
		struct resolved_account before, after;
		for (unsigned again = 0; again < 2; again++) {
			cleanup_resolver struct resolver resolver = {0};
			put(tree, "etc", "passwd", "carol:x:1005:1005:x:/home/carol:/bin/bash\n");
			put(tree, "etc", "group", "users:x:100:carol\nbob:x:1002:\n");
			put(tree, "etc", "sudoers", "root ALL=ALL\n");
			/* The last round changes what does not matter. */
			if (again == 1 && i == ELEMENTS(changes))
				put(tree, "etc", "passwd", "bob:x:1:1::/:/\ncarol:x:1005:1005:new:/:/bin/sh\n");
			else if (again == 1)
				put(tree, "etc", changes[i][0], changes[i][1]);
			assert_int_equal(resolver_open(tree->root, &resolver), 0);
			if (i % 2 == 0)
				assert_int_equal(resolver_index(&resolver), 0);
			assert_int_equal(resolve_account(&resolver, "carol", -1, again == 0 ? &before : &after), 0);
		}
		if (i == ELEMENTS(changes))
			assert_int_equal(before.stamp, after.stamp);
		else
			assert_int_not_equal(before.stamp, after.stamp);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(P104_privilege_is_seen_through_every_disguise),
		cmocka_unit_test(P104_sudoers_is_read_as_sudo_reads_it),
		cmocka_unit_test(P104_many_files_of_ours_are_no_reason_to_stop),
		cmocka_unit_test(P34_decisions_and_the_rules_they_name),
		cmocka_unit_test(P109_a_broken_policy_observes),
		cmocka_unit_test(P104_a_stamp_tells_when_the_verdict_may_be_another),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
