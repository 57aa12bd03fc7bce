/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/policy.h"

#include <errno.h>
#include <string.h>

static const struct config_key keys[] = {
	{"policy", "mode", CONFIG_CHOICE, "enforce|observe|off", "enforce",
		"enforce; observe: plan and report, change nothing; off: refuse every document", false},
	{"policy", "commands", CONFIG_LIST, NULL, "*", "commands that may be asked for; !name denies and wins", false},
	{"users", "allow", CONFIG_LIST, NULL, "*", "accounts that may be touched", false},
	{"users", "root", CONFIG_YES_NO, NULL, "no", "may accounts with uid 0 be touched", false},
	{"users", "create", CONFIG_YES_NO, NULL, "yes", "may accounts be created", false},
	{"users", "remove", CONFIG_CHOICE, "created|any|no", "created", "which accounts may be removed", false},
	{"users", "privileged", CONFIG_CHOICE, "deny|allow", "deny",
		"accounts that can become root by group or sudoers rule", false},
	{"groups", "allow", CONFIG_LIST, NULL, "", "groups that may be given; root-equivalent ones only if named",
		false},
	{"sudo", "most", CONFIG_CHOICE, "none|password|nopasswd", "none", "the most that user.ensure may give", false},
	{"keys", "types", CONFIG_LIST, NULL, "ed25519 ecdsa rsa sk", "key types that may be bound", false},
	{"keys", "rsa_bits", CONFIG_INTEGER, "2048:16384", "2048", "the shortest RSA key that may be bound", false},
	{"keys", "options", CONFIG_LIST, NULL, "expires from", "restrictions that a bind may carry", false},
	{"keys", "expiry", CONFIG_CHOICE, "sshd|agent", "sshd", "who enforces expiry where sshd is too old to", false},
	{"keys", "inherited", CONFIG_CHOICE, "keep|remove", "keep", "what a clone does with its model's keys", false},
	{"keys", "locations", CONFIG_LIST, NULL, "home runtime", "where keys may be put: home system runtime", false},
	{"password", "min", CONFIG_INTEGER, "1:128", "8", "the shortest password, in bytes", false},
	{"password", "max", CONFIG_INTEGER, "8:512", "128", "the longest password, in bytes", false},
	{"password", "classes", CONFIG_INTEGER, "1:4", "3", "how many of upper, lower, digit, other it must have",
		false},
	{"password", "clear_hash", CONFIG_YES_NO, NULL, "no", "may a hash come unsealed", false},
	{"password", "accept_lockout", CONFIG_YES_NO, NULL, "no", "may a document switch the lock-out guard off",
		false},
	{"unsigned", "commands", CONFIG_LIST, NULL, "", "commands that an unsigned document may ask for", false},
	{"signer", "commands", CONFIG_LIST, NULL, NULL, "narrower than [policy] commands for that signer", true},
	{"signer", "users", CONFIG_LIST, NULL, NULL, "narrower than [users] allow for that signer", true},
	{"signer", "sudo", CONFIG_CHOICE, "none|password|nopasswd", NULL, "narrower than [sudo] most", true},
	{"signer", "accept_lockout", CONFIG_YES_NO, NULL, NULL, "narrower than [password] accept_lockout", true},
};

const struct config_table policy_table = {keys, ELEMENTS(keys)};

int policy_load(int root, struct policy *ret_policy)
{
	struct policy policy = {0};

	int r = config_load(root, "etc/latchkey", "policy.conf", &policy_table, &policy.config, policy.error);
	if (r < 0) {
		if (r == -ENOMEM)
			return r;
		policy.broken = true;
		r = config_initialise(&policy_table, &policy.config);
		if (r < 0)
			return r;
	}
	*ret_policy = policy;
	return 0;
}

void policy_free(struct policy *policy)
{
	config_free(&policy->config);
}

enum policy_mode policy_mode(const struct policy *policy)
{
	const char *mode = config_text(&policy->config, "policy", "mode");

	if (policy->broken)
		return POLICY_OBSERVE;
	if (mode && strcmp(mode, "off") == 0)
		return POLICY_OFF;
	return mode && strcmp(mode, "enforce") == 0 ? POLICY_ENFORCE : POLICY_OBSERVE;
}

const char *policy_mode_name(enum policy_mode mode)
{
	static const char *const names[] = {"enforce", "observe", "off"};
	return names[mode];
}

/* What a decision needs at hand. */
struct question {
	const struct policy *policy;
	const char *signer;
	const cJSON *command;
	const char *do_name;
	char *detail;
};

static enum code deny(const struct question *question, enum code code, const char *section, const char *key)
{
	const struct config *config = &question->policy->config;
	const char *value = config_text(config, section, key);

	(void)snprintf(question->detail, DETAIL_MAX + 1, "[%s] %s = %.80s (%s) does not allow this", section, key,
		value ? value : "", config_source(config, section, key));
	return code;
}

static enum code deny_signer(const struct question *question, const struct config_named_value *named, const char *key)
{
	(void)snprintf(question->detail, DETAIL_MAX + 1, "[signer %.64s] %s (%s) does not allow this", named->name, key,
		named->source);
	return CODE_SIGNER;
}

static int sudo_rank(const char *level)
{
	return strcmp(level, "nopasswd") == 0 ? 2 : strcmp(level, "password") == 0 ? 1 : 0;
}

static const char *command_user(const cJSON *command)
{
	const char *user = NULL;
	return json_get_string(command, "user", &user) == 0 ? user : NULL;
}

static bool command_flag(const cJSON *command, const char *name)
{
	bool flag = false;
	return json_get_bool(command, name, &flag) == 0 && flag;
}

/* Every [signer PATTERN] that matches narrows further. */
static enum code decide_signer(const struct question *question)
{
	const struct config *config = &question->policy->config;
	const char *user = command_user(question->command), *sudo = NULL;

	for (size_t i = 0; i < config->named_count; i++) {
		const struct config_named_value *named = &config->named[i];
		const char *key = config->table->keys[named->key].key;
		if (!config_list_allows(named->name, question->signer))
			continue;
		if (strcmp(key, "commands") == 0 && !config_list_allows(named->value, question->do_name))
			return deny_signer(question, named, key);
		if (strcmp(key, "users") == 0 && user && !config_list_allows(named->value, user))
			return deny_signer(question, named, key);
		if (strcmp(key, "sudo") == 0 && json_get_string(question->command, "sudo", &sudo) == 0 &&
			sudo_rank(sudo) > sudo_rank(named->value))
			return deny_signer(question, named, key);
		if (strcmp(key, "accept_lockout") == 0 && strcmp(named->value, "no") == 0 &&
			command_flag(question->command, "accept_lockout"))
			return deny_signer(question, named, key);
	}
	return CODE_OK;
}

static enum code decide_account(const struct question *question, const struct resolved_account *account)
{
	const struct config *config = &question->policy->config;
	const char *user = command_user(question->command);

	if (!config_list_allows(config_text(config, "users", "allow"), user))
		return deny(question, CODE_POLICY, "users", "allow");
	if (account->is_root)
		return config_yes(config, "users", "root") ? CODE_OK : deny(question, CODE_PRIVILEGED, "users", "root");
	if (!account->is_person) {
		(void)snprintf(question->detail, DETAIL_MAX + 1,
			"uid %u is outside UID_MIN..UID_MAX: system accounts are never touched", account->uid);
		return CODE_SYSTEM_ACCOUNT;
	}
	if (account->privileged && strcmp(config_text(config, "users", "privileged"), "allow") != 0) {
		(void)deny(question, CODE_PRIVILEGED, "users", "privileged");
		size_t size = strlen(question->detail);
		(void)snprintf(question->detail + size, DETAIL_MAX + 1 - size, " (%s)", account->reason);
		return CODE_PRIVILEGED;
	}
	if (!account->exists && strcmp(question->do_name, "user.ensure") == 0 && !config_yes(config, "users", "create"))
		return deny(question, CODE_POLICY, "users", "create");
	if (strcmp(question->do_name, "user.remove") == 0 && strcmp(config_text(config, "users", "remove"), "no") == 0)
		return deny(question, CODE_POLICY, "users", "remove");
	return CODE_OK;
}

static enum code decide_fields(const struct question *question)
{
	const struct config *config = &question->policy->config;
	const char *sudo, *location;
	const cJSON *list, *element;

	if (command_flag(question->command, "accept_lockout") && !config_yes(config, "password", "accept_lockout"))
		return deny(question, CODE_POLICY, "password", "accept_lockout");
	if (json_get_string(question->command, "sudo", &sudo) == 0 &&
		sudo_rank(sudo) > sudo_rank(config_text(config, "sudo", "most")))
		return deny(question, CODE_POLICY, "sudo", "most");
	if (json_get_array(question->command, "groups", &list) == 0) {
		cJSON_ArrayForEach(element, list)
		{
			if (!config_list_allows(config_text(config, "groups", "allow"), element->valuestring))
				return deny(question, CODE_POLICY, "groups", "allow");
		}
	}
	if (json_get_string(question->command, "location", &location) == 0 &&
		!config_list_allows(config_text(config, "keys", "locations"), location))
		return deny(question, CODE_POLICY, "keys", "locations");
	if (json_member(question->command, "hash") && !config_yes(config, "password", "clear_hash"))
		return deny(question, CODE_CLEAR_HASH, "password", "clear_hash");
	if (strncmp(question->do_name, "keys.", 5) == 0) {
		const char *options = config_text(config, "keys", "options");
		if ((json_member(question->command, "expires") && !config_list_allows(options, "expires")) ||
			(json_member(question->command, "from") && !config_list_allows(options, "from")))
			return deny(question, CODE_POLICY, "keys", "options");
	}
	return CODE_OK;
}

enum code policy_decide(const struct policy *policy, const char *signer, const struct manifest_command *row,
	const cJSON *command, const struct resolved_account *account, char ret_detail[DETAIL_MAX + 1])
{
	const struct question question = {policy, signer, command, row->name, ret_detail};
	const struct config *config = &policy->config;
	enum code code;

	ret_detail[0] = '\0';
	if (!signer && !config_list_allows(config_text(config, "unsigned", "commands"), row->name))
		return deny(&question, CODE_UNSIGNED, "unsigned", "commands");
	if (!config_list_allows(config_text(config, "policy", "commands"), row->name))
		return deny(&question, CODE_POLICY, "policy", "commands");
	if (signer) {
		code = decide_signer(&question);
		if (code != CODE_OK)
			return code;
	}
	/* To look is harmless: diagnose is not a touch. */
	if (account && row->stage != 6) {
		code = decide_account(&question, account);
		if (code != CODE_OK)
			return code;
	}
	return decide_fields(&question);
}

static bool is_named(const char *list, const char *word)
{
	char name[256];

	for (const char *at = list ? list : ""; config_next_word(&at, name, sizeof(name));) {
		if (strcmp(name, word) == 0)
			return true;
	}
	return false;
}

enum code policy_decide_groups(const struct policy *policy, const struct resolver *resolver, const cJSON *command,
	char ret_detail[DETAIL_MAX + 1])
{
	const char *allowed = config_text(&policy->config, "groups", "allow");
	const cJSON *list, *element;

	if (json_get_array(command, "groups", &list) < 0)
		return CODE_OK;
	cJSON_ArrayForEach(element, list)
	{
		bool privileged = resolve_group_is_privileged(resolver, element->valuestring) ||
				  resolve_group_has_sudo(resolver, element->valuestring);
		if (!privileged || is_named(allowed, element->valuestring))
			continue;
		(void)snprintf(ret_detail, DETAIL_MAX + 1,
			"members of %.32s can become root, and [groups] allow = %.80s (%s) does not name it",
			element->valuestring, allowed, config_source(&policy->config, "groups", "allow"));
		return CODE_GROUP_PRIVILEGED;
	}
	return CODE_OK;
}

static const char *find_setting(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->table->count; i++) {
		if (!config->table->keys[i].named && strcmp(config->table->keys[i].key, name) == 0)
			return config->values[i];
	}
	return NULL;
}

int policy_write_settings(const struct policy *policy, const cJSON *declarations, struct json_writer *writer)
{
	const cJSON *declaration;

	cJSON_ArrayForEach(declaration, declarations)
	{
		struct field_type type;
		char word[128];
		const char *name = declaration->string;
		const char *value = find_setting(&policy->config, name);

		if (!value || field_parse_type(declaration->valuestring, &type) < 0)
			return -EBADMSG; /* a manifest and the table above do not fit: a mistake in the build */
		if (type.kind == FIELD_BOOL) {
			json_put_bool(writer, name, strcmp(value, "yes") == 0);
		} else if (type.kind == FIELD_INT) {
			int64_t integer = 0;
			for (const char *at = value; *at >= '0' && *at <= '9'; at++)
				integer = integer * 10 + (*at - '0');
			json_put_integer(writer, name, integer);
		} else if (type.kind == FIELD_NAMES) {
			json_begin_array(writer, name);
			for (const char *at = value; config_next_word(&at, word, sizeof(word));)
				json_put_string(writer, NULL, word);
			json_end_array(writer);
		} else {
			json_put_string(writer, name, value);
		}
	}
	return 0;
}
