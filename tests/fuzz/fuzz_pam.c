/* SPDX-License-Identifier: Apache-2.0 */
/* sshd's PAM stack, and each of its rules asked about somebody: rules are whole lines, no more than are held. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugins/login/pam_rule.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static char folder[] = "/tmp/latchkey-fuzz-pam-XXXXXX";

static void remove_folder(void)
{
	static const char *const names[] = {"/etc/pam.d/sshd", "/etc/pam.d", "/etc", ""};

	for (unsigned i = 0; i < ELEMENTS(names); i++) {
		char path[128];
		(void)snprintf(path, sizeof(path), "%s%s", folder, names[i]);
		(void)remove(path);
	}
}

static int make_root(void)
{
	if (!mkdtemp(folder))
		abort();
	int root = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || mkdirat(root, "etc", 0700) < 0 || mkdirat(root, "etc/pam.d", 0700) < 0 ||
		atexit(remove_folder) != 0)
		abort();
	return root;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static int root = -1;
	char *groups[] = {(char[]){"users"}, (char[]){"alice"}, NULL};
	const struct person person = {.account = {.name = (char[]){"alice"},
					      .uid = 1001,
					      .gid = 1001,
					      .home = (char[]){"/home/alice"},
					      .shell = (char[]){"/bin/sh"}},
		.group_names = groups};

	if (root < 0)
		root = make_root();
	int file = openat(root, "etc/pam.d/sshd", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (file < 0 || write(file, bytes, size) != (ssize_t)size || close(file) < 0)
		abort();
	struct world world = {.root = root, .pam = {{.name = "pam_access.so"}}};
	pam_find(root, world.pam, 1, &world.pam_rules);
	if (world.pam_rules.count > PAM_RULES_MAX)
		abort();
	for (unsigned i = 0; i < world.pam_rules.count; i++) {
		enum pam_verdict verdict;
		if (strchr(world.pam_rules.rules[i].line, '\n') ||
			pam_rule_verdict(&world, &person, world.pam_rules.rules[i].line, &verdict) < 0 ||
			verdict > PAM_UNKNOWN)
			abort();
	}
	return 0;
}
