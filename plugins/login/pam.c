/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/login/pam.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/sshd_open.h"

#define PAM_DEPTH_MAX 8u
#define PAM_FILE_MAX 65536u
#define BLANKS " \t"

struct search {
	int root;
	struct pam_module *modules;
	size_t count;
};

static int read_file(int root, const char *name, char **ret_text)
{
	static const char *const places[] = {"/etc/pam.d", "/usr/lib/pam.d"};
	size_t size;
	int r = -ENOENT;

	for (unsigned i = 0; r == -ENOENT && i < ELEMENTS(places); i++) {
		char path[256];
		(void)snprintf(path, sizeof(path), "%s/%s", places[i], name);
		r = sshd_read_below(root, path, PAM_FILE_MAX, ret_text, &size);
	}
	return r;
}

static void look_at_line(const struct search *search, const char *type, const char *line)
{
	bool for_all = strcmp(type, "account") == 0 || strcmp(type, "session") == 0;
	bool for_passwords = strcmp(type, "auth") == 0;

	for (size_t i = 0; i < search->count; i++) {
		struct pam_module *module = &search->modules[i];
		if ((!for_all && !for_passwords) || !strstr(line, module->name))
			continue;
		module->for_all = module->for_all || for_all;
		module->for_passwords = module->for_passwords || for_passwords;
		if (module->line[0] == '\0')
			(void)snprintf(module->line, sizeof(module->line), "%s", line);
	}
}

static bool is_word(const char *text, size_t size, const char *word)
{
	return strlen(word) == size && strncmp(text, word, size) == 0;
}

/* `only` is the stack that is included, NULL for all of them. */
static void look_into(const struct search *search, const char *file, const char *only, unsigned depth)
{
	cleanup_free char *text = NULL;

	if (depth == PAM_DEPTH_MAX || strchr(file, '/') || read_file(search->root, file, &text) < 0)
		return;
	for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;) {
		char *words[3], *at = line, type[16];
		size_t sizes[3];
		line[strcspn(line, "#")] = '\0';
		for (unsigned i = 0; i < ELEMENTS(words); i++) {
			words[i] = at + strspn(at, BLANKS);
			sizes[i] = strcspn(words[i], BLANKS);
			at = words[i] + sizes[i];
		}
		bool everything = is_word(words[0], sizes[0], "@include");
		bool quiet = *words[0] == '-'; /* one that need not be installed */
		(void)snprintf(type, sizeof(type), "%.*s", (int)sizes[0] - quiet, words[0] + quiet);
		if (!everything && only && strcmp(type, only) != 0)
			continue;
		if (!everything && !is_word(words[1], sizes[1], "include") &&
			!is_word(words[1], sizes[1], "substack")) {
			look_at_line(search, type, line);
			continue;
		}
		char *included = words[everything ? 1 : 2];
		included[sizes[everything ? 1 : 2]] = '\0';
		look_into(search, included, everything ? only : type, depth + 1);
	}
}

void pam_find(int root, struct pam_module *modules, size_t count)
{
	const struct search search = {root, modules, count};
	look_into(&search, "sshd", NULL, 0);
}

/* The argument that begins so, or NULL. */
static const char *find_argument(const struct pam_module *module, const char *begin)
{
	const char *at = strstr(module->line, module->name);
	size_t size = strlen(begin);

	for (at = at ? at + strcspn(at, BLANKS) : ""; *at; at += strcspn(at, BLANKS)) {
		at += strspn(at, BLANKS);
		if (strncmp(at, begin, size) == 0)
			return at;
	}
	return NULL;
}

bool pam_get_option(const struct pam_module *module, const char *name, char *ret_value, size_t size)
{
	char begin[64];

	(void)snprintf(begin, sizeof(begin), "%s=", name);
	const char *found = find_argument(module, begin);
	if (!found)
		return false;
	found += strlen(begin);
	size_t length = strcspn(found, BLANKS);
	if (length >= size)
		return false;
	memcpy(ret_value, found, length);
	ret_value[length] = '\0';
	return true;
}

bool pam_has_argument(const struct pam_module *module, const char *argument)
{
	const char *found = find_argument(module, argument);
	return found && strchr(BLANKS, found[strlen(argument)]);
}

void pam_refuses(const struct pam_module *module, enum blocker blocker, blocker_set *key, blocker_set *password)
{
	if (module->for_all)
		*key |= BLOCKER_BIT(blocker);
	if (module->for_all || module->for_passwords)
		*password |= BLOCKER_BIT(blocker);
}
