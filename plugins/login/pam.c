/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/login/pam.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/sshd_open.h"

#define PAM_DEPTH_MAX 8u
#define PAM_FILE_MAX 65536u
#define BLANKS " \t"

/* How far into one stack the search has come. */
struct stack {
	unsigned jumped; /* lines that one before them may jump over */
	bool ended;      /* one before them may have let in whom they would refuse, */
	bool passed;     /* or surely has */
};

struct search {
	int root;
	struct pam_module *modules;
	size_t count;
	struct pam_rules *rules;
	struct stack auth, account;
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

static bool is_module(const char *module, const char *const *names)
{
	for (; *names; names++) {
		size_t size = strlen(*names);
		if (strncmp(module, "pam_", 4) == 0 && strncmp(module + 4, *names, size) == 0 &&
			strncmp(module + 4 + size, ".so", 3) == 0)
			return true;
	}
	return false;
}

/* Those that refuse nobody who has an account here and knows its password, and those that are judged elsewhere. */
static const char *const harmless[] = {"access", "cap", "echo", "ecryptfs", "env", "faildelay", "faillock",
	"gnome_keyring", "group", "issue", "keyinit", "krb5", "lastlog", "ldap", "limits", "localuser", "loginuid",
	"mail", "mkhomedir", "motd", "nologin", "oddjob_mkhomedir", "permit", "selinux", "sepermit", "shells", "sss",
	"systemd", "systemd_home", "tally2", "umask", "unix", "usertype", "warn", "winbind", NULL};
/* Of these, those that let each of them in: where one is sufficient, nothing behind it is asked. */
static const char *const certain[] = {"localuser", "permit", "unix", NULL};
static const char *const denying[] = {"deny", NULL};

/* required, requisite, sufficient, optional, or [VALUE=ACTION…] (pam.conf(5)). */
static void read_control(const char *control, size_t size, bool *ret_refuses, bool *ret_ends, unsigned *ret_jump)
{
	cleanup_free char *text = strndup(control, size);
	unsigned jump = 0;

	*ret_jump = 0;
	*ret_refuses = !text || strcasecmp(text, "required") == 0 || strcasecmp(text, "requisite") == 0 ||
		       strcasestr(text, "=bad") || strcasestr(text, "=die");
	*ret_ends = !text || strcasecmp(text, "sufficient") == 0 || strcasestr(text, "success=done");
	for (const char *at = text; at && (at = strchr(at, '=')) != NULL;) {
		unsigned lines = 0;
		for (at++; *at >= '0' && *at <= '9' && lines < 1000; at++)
			lines = lines * 10 + (unsigned)(*at - '0');
		jump = lines > jump ? lines : jump;
	}
	*ret_jump = jump;
}

static void add_rule(struct pam_rules *rules, const char *line, bool for_passwords, bool surely)
{
	if (rules->count == PAM_RULES_MAX || strlen(line) >= sizeof(rules->rules[0].line)) {
		rules->more = true;
		return;
	}
	struct pam_rule *rule = &rules->rules[rules->count++];
	(void)snprintf(rule->line, sizeof(rule->line), "%s", line);
	rule->for_passwords = for_passwords;
	rule->surely = surely;
}

/* Behind the type; the control may be in brackets and hold blanks. */
static void look_for_rule(struct search *search, const char *type, const char *line, const char *control)
{
	struct stack *stack = strcmp(type, "auth") == 0      ? &search->auth
			      : strcmp(type, "account") == 0 ? &search->account
							     : NULL;
	size_t size = *control == '[' ? strcspn(control, "]") + 1 : strcspn(control, BLANKS);
	bool refuses, ends;
	unsigned jump;

	if (!stack || size > strlen(control))
		return;
	const char *module = control + size + strspn(control + size, BLANKS);
	const char *slash = memrchr(module, '/', strcspn(module, BLANKS));
	module = slash ? slash + 1 : module;
	read_control(control, size, &refuses, &ends, &jump);
	bool jumped = stack->jumped > 0;
	stack->jumped -= jumped;
	/* pam_deny behind a jump is for those whose password was wrong. */
	if (refuses && !stack->passed && !is_module(module, harmless) && !(jumped && is_module(module, denying)))
		add_rule(search->rules, line, stack == &search->auth, !jumped && !stack->ended);
	stack->jumped = jump > stack->jumped ? jump : stack->jumped;
	stack->passed = stack->passed || (ends && is_module(module, certain));
	stack->ended = stack->ended || ends;
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
static void look_into(struct search *search, const char *file, const char *only, unsigned depth)
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
			if (*words[0] != '\0')
				look_for_rule(search, type, line, words[1]);
			continue;
		}
		const struct stack auth = search->auth, account = search->account;
		bool is_sub = is_word(words[1], sizes[1], "substack");
		char *included = words[everything ? 1 : 2];
		included[sizes[everything ? 1 : 2]] = '\0';
		look_into(search, included, everything ? only : type, depth + 1);
		if (is_sub) { /* what ends it ends no more than it */
			search->auth = auth;
			search->account = account;
		}
	}
}

void pam_find(int root, struct pam_module *modules, size_t count, struct pam_rules *ret_rules)
{
	struct search search = {.root = root, .modules = modules, .count = count, .rules = ret_rules};

	*ret_rules = (struct pam_rules){.count = 0};
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
