/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/manifest.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/socket.h>

extern const char manifest_account[], manifest_authorized_keys[], manifest_sshd[], manifest_login[];

static const struct {
	const char *name, *text;
} embedded[MANIFEST_PLUGINS] = {
	{"account", manifest_account},
	{"authorized-keys", manifest_authorized_keys},
	{"sshd", manifest_sshd},
	{"login", manifest_login},
};

static const struct {
	const char *name;
	unsigned bit;
} capability_names[] = {
	{"audit_write", CAP_AUDIT_WRITE},
	{"chown", CAP_CHOWN},
	{"dac_override", CAP_DAC_OVERRIDE},
	{"dac_read_search", CAP_DAC_READ_SEARCH},
	{"fowner", CAP_FOWNER},
	{"fsetid", CAP_FSETID},
	{"kill", CAP_KILL},
	{"net_admin", CAP_NET_ADMIN},
	{"setfcap", CAP_SETFCAP},
	{"setgid", CAP_SETGID},
	{"setuid", CAP_SETUID},
	{"sys_chroot", CAP_SYS_CHROOT},
	{"sys_ptrace", CAP_SYS_PTRACE},
};

const char *manifest_text(const char *plugin)
{
	for (unsigned i = 0; i < MANIFEST_PLUGINS; i++) {
		if (strcmp(embedded[i].name, plugin) == 0)
			return embedded[i].text;
	}
	return NULL;
}

static int read_capabilities(const cJSON *root, uint64_t *ret_mask)
{
	const cJSON *list, *element;
	uint64_t mask = 0;

	int r = json_get_array(root, "capabilities", &list);
	if (r < 0)
		return r;
	cJSON_ArrayForEach(element, list)
	{
		unsigned i;
		for (i = 0; cJSON_IsString(element) && i < ELEMENTS(capability_names); i++) {
			if (strcmp(capability_names[i].name, element->valuestring) == 0)
				break;
		}
		if (!cJSON_IsString(element) || i == ELEMENTS(capability_names))
			return -EBADMSG;
		mask |= UINT64_C(1) << capability_names[i].bit;
	}
	*ret_mask = mask;
	return 0;
}

static int read_sandbox(const cJSON *root, struct sandbox *sandbox)
{
	static const struct {
		const char *name;
		int family;
	} families[] = {{"unix", AF_UNIX}, {"inet", AF_INET}, {"inet6", AF_INET6}, {"netlink", AF_NETLINK}};
	const cJSON *list, *element;

	int r = json_get_array(root, "sockets", &list);
	if (r < 0)
		return r;
	cJSON_ArrayForEach(element, list)
	{
		unsigned i;
		for (i = 0; cJSON_IsString(element) && i < ELEMENTS(families); i++) {
			if (strcmp(families[i].name, element->valuestring) == 0)
				break;
		}
		if (i == ELEMENTS(families) || !cJSON_IsString(element) ||
			sandbox->family_count == SANDBOX_FAMILIES_MAX)
			return -EBADMSG;
		sandbox->families[sandbox->family_count++] = families[i].family;
	}
	r = json_get_bool(root, "confined", &sandbox->confines_writes);
	if (r == 0)
		r = json_get_array(root, "writes", &list);
	if (r < 0)
		return r;
	cJSON_ArrayForEach(element, list)
	{
		if (!cJSON_IsString(element) || sandbox->tree_count + 2 > SANDBOX_TREES_MAX)
			return -EBADMSG;
		if (element->valuestring[0] == '/')
			sandbox->trees[sandbox->tree_count++] = element->valuestring;
	}
	return 0;
}

static int read_command(const cJSON *node, unsigned plugin, struct manifest_command *command)
{
	const cJSON *fields, *field;
	int64_t stage;
	int r;

	*command = (struct manifest_command){.name = node->string, .plugin = plugin};
	r = json_get_integer(node, "stage", &stage);
	if (r < 0)
		return r;
	if (stage < 0 || stage > 6)
		return -EBADMSG;
	command->stage = (unsigned)stage;
	r = json_get_bool(node, "needs_one", &command->needs_one);
	if (r < 0 && r != -ENOENT)
		return r;
	r = json_get_object(node, "fields", &fields);
	if (r < 0)
		return r;
	cJSON_ArrayForEach(field, fields)
	{
		if (command->field_count == MANIFEST_FIELDS_MAX || !cJSON_IsString(field))
			return -EBADMSG;
		struct manifest_field *entry = &command->fields[command->field_count++];
		entry->name = field->string;
		r = field_parse_type(field->valuestring, &entry->type);
		if (r < 0)
			return -EBADMSG;
	}
	return 0;
}

static int read_manifest(const cJSON *root, unsigned plugin, struct manifest *manifest)
{
	const cJSON *commands, *command;
	int64_t timeout_s;

	int r = json_get_string(root, "name", &manifest->name);
	if (r < 0)
		return r;
	if (strcmp(manifest->name, embedded[plugin].name) != 0)
		return -EBADMSG;
	r = read_capabilities(root, &manifest->capabilities);
	if (r < 0)
		return r;
	r = json_get_integer(root, "timeout_s", &timeout_s);
	if (r < 0)
		return r;
	manifest->timeout_s = (unsigned)timeout_s;
	r = read_sandbox(root, &manifest->sandbox);
	if (r < 0)
		return r;
	r = json_get_object(root, "settings", &manifest->settings);
	if (r < 0)
		return r;
	r = json_get_object(root, "commands", &commands);
	if (r < 0)
		return r;
	cJSON_ArrayForEach(command, commands)
	{
		if (manifest->command_count == MANIFEST_COMMANDS_MAX)
			return -EBADMSG;
		r = read_command(command, plugin, &manifest->commands[manifest->command_count++]);
		if (r < 0)
			return r;
	}
	return 0;
}

int manifest_set_load(struct manifest_set *ret_set)
{
	cleanup_manifest_set struct manifest_set set = {0};

	for (unsigned i = 0; i < MANIFEST_PLUGINS; i++) {
		int r = json_parse_object(embedded[i].text, strlen(embedded[i].text), &set.roots[i]);
		if (r < 0)
			return r;
		r = read_manifest(set.roots[i], i, &set.plugins[i]);
		if (r < 0)
			return r;
	}
	*ret_set = set;
	set = (struct manifest_set){0};
	return 0;
}

void manifest_set_free(struct manifest_set *set)
{
	for (unsigned i = 0; i < MANIFEST_PLUGINS; i++)
		cJSON_Delete(set->roots[i]);
	*set = (struct manifest_set){0};
}

const struct manifest_command *manifest_find(const struct manifest_set *set, const char *do_name)
{
	for (unsigned i = 0; i < MANIFEST_PLUGINS; i++) {
		for (unsigned j = 0; j < set->plugins[i].command_count; j++) {
			if (strcmp(set->plugins[i].commands[j].name, do_name) == 0)
				return &set->plugins[i].commands[j];
		}
	}
	return NULL;
}

static const struct manifest_field *find_field(const struct manifest_command *row, const char *name)
{
	for (unsigned i = 0; i < row->field_count; i++) {
		if (strcmp(row->fields[i].name, name) == 0)
			return &row->fields[i];
	}
	return NULL;
}

static cJSON *make_default(const struct field_type *type)
{
	int64_t number = 0;

	switch (type->kind) {
	case FIELD_BOOL:
		return cJSON_CreateBool(strcmp(type->default_text, "true") == 0);
	case FIELD_INT:
		for (const char *at = type->default_text; *at >= '0' && *at <= '9'; at++)
			number = number * 10 + (*at - '0');
		return cJSON_CreateNumber((double)number);
	case FIELD_USER:
	case FIELD_NAME:
	case FIELD_LABEL:
	case FIELD_TEXT:
	case FIELD_COLUMN:
	case FIELD_PATH:
	case FIELD_TIME:
	case FIELD_ENUM:
	case FIELD_KEY:
	case FIELD_BASE64:
	case FIELD_NAMES:
	case FIELD_CIDRS:
	case FIELD_ID:
	case FIELD_OBJECT:
		return cJSON_CreateString(type->default_text);
	}
	return NULL;
}

enum code manifest_check(const struct manifest_command *row, cJSON *command, char ret_detail[DETAIL_MAX + 1])
{
	static const char *const common[] = {"id", "do", "not_before", "until", "actor"};
	unsigned optional = 0;
	const cJSON *member;

	cJSON_ArrayForEach(member, command)
	{
		bool is_common = false;
		for (unsigned i = 0; i < ELEMENTS(common); i++)
			is_common = is_common || strcmp(member->string, common[i]) == 0;
		if (is_common)
			continue;
		const struct manifest_field *field = find_field(row, member->string);
		if (!field) {
			(void)snprintf(ret_detail, DETAIL_MAX + 1, "%s has no field '%.64s'", row->name,
				field_is_text(member->string, 64) ? member->string : "?");
			return CODE_UNKNOWN_FIELD;
		}
		enum code code = field_check(&field->type, member);
		if (code != CODE_OK) {
			(void)snprintf(ret_detail, DETAIL_MAX + 1, "the value of '%s' is not valid", field->name);
			return code;
		}
		optional += !field->type.required && strcmp(field->name, "accept_lockout") != 0 &&
			    strcmp(field->name, "confirm_within") != 0;
	}
	if (row->needs_one && optional == 0) {
		(void)snprintf(ret_detail, DETAIL_MAX + 1, "%s needs at least one thing to set", row->name);
		return CODE_FIELD_MISSING;
	}
	for (unsigned i = 0; i < row->field_count; i++) {
		const struct manifest_field *field = &row->fields[i];
		if (json_member(command, field->name))
			continue;
		if (field->type.required) {
			(void)snprintf(ret_detail, DETAIL_MAX + 1, "%s needs the field '%s'", row->name, field->name);
			return CODE_FIELD_MISSING;
		}
		if (field->type.default_text &&
			!cJSON_AddItemToObject(command, field->name, make_default(&field->type))) {
			(void)snprintf(ret_detail, DETAIL_MAX + 1, "out of memory");
			return CODE_INTERNAL;
		}
	}
	ret_detail[0] = '\0';
	return CODE_OK;
}
