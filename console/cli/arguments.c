/* SPDX-License-Identifier: Apache-2.0 */
#include "console/cli/arguments.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const struct {
	const char *name, *value; /* value: its word in the help, NULL for a flag */
	unsigned group;
	const char *help;
} options[] = {
	{"home", "DIR", OPTION_ALWAYS, "state directory (default ~/.config/latchkey, or LATCHKEY_HOME)"},
	{"json", NULL, OPTION_ALWAYS, "print JSON"},
	{"help", NULL, OPTION_ALWAYS, "print this help"},
	{"version", NULL, OPTION_ALWAYS, "print the version"},
	{"endpoint", "URL", OPTION_INIT, "the endpoint, http:// or https://"},
	{"token-fd", "N", OPTION_INIT, "read the endpoint's token from this descriptor (default: ask)"},
	{"signing-key", "FILE", OPTION_INIT,
		"an Ed25519 key to sign with (default: make one); FILE.pub for an agent's key"},
	{"name", "NAME", OPTION_INIT, "the signer's name in allowed_signers (default operator)"},
	{"ca-file", "FILE", OPTION_INIT, "certificates that vouch for an https endpoint"},
	{"output", "FILE", OPTION_KEYPAIR, "where the private key goes, once (default ./LABEL; - for standard output)"},
	{"replace", NULL, OPTION_KEYPAIR, "put the new key in place of the pair's old one"},
	{"generate", NULL, OPTION_PASSWORD, "let the instance make the password, and print it"},
	{"password-fd", "N", OPTION_PASSWORD, "read the password from this descriptor"},
	{"hash", NULL, OPTION_PASSWORD, "what is read is a crypt(5) hash; it travels sealed"},
	{"force", NULL, OPTION_FORCE, "even if it is bound"},
	{"wait", NULL, OPTION_RESULTS, "wait for further results until --timeout"},
	{"all", NULL, OPTION_RESULTS, "also those that came before"},
	{"no-wait", NULL, OPTION_CHANGE, "do not wait for the result"},
	{"timeout", "SECONDS", OPTION_CHANGE | OPTION_RESULTS, "how long to wait for the result (default 120)"},
	{"timeout", "SECONDS", OPTION_QUICKSTART, "how long to wait for the instance (default 1h)"},
	{"instance", "ID", OPTION_QUICKSTART, "the instance's id (default: HOST)"},
	{"listen", "ADDRESS:PORT", OPTION_QUICKSTART,
		"where the endpoint listens that is started here (default: the address that HOST sees, port 8470)"},
	{"keypair", "LABEL", OPTION_QUICKSTART,
		"the key pair, made where it is new, its private key in ./LABEL (default quickstart)"},
	{"user-data", "FILE", OPTION_QUICKSTART, "write the user-data to FILE instead of printing it"},
	{"valid", "DURATION", OPTION_CHANGE, "how long the command may wait for the instance (default 1d, at most 7d)"},
	{"dry-run", NULL, OPTION_CHANGE, "say what would be changed, and change nothing"},
	{"not-before", "TIME", OPTION_CHANGE, "when the instance may do it at the earliest"},
	{"targets", "FILE", OPTION_TARGETS,
		"for each instance named in FILE (- for standard input) instead of INSTANCE"},
	{"canary", "N[%]", OPTION_TARGETS, "first for so many of them; the others only when these went well"},
	{"pause-on", "failed|never", OPTION_TARGETS,
		"stop at a failed canary (the default) or, given, at any failed one"},
	{"parallel", "N", OPTION_TARGETS, "how many at a time (default 16)"},
	{"done", "FILE", OPTION_TARGETS, "leave out those that FILE names, and add those that are done"},
	{"actor", "TEXT", OPTION_CHANGE, "on whose behalf, as the instance records it"},
	{"discard-pending", NULL, OPTION_CHANGE, "drop what is pending when it cannot be verified"},
	{"accept-new-identity", NULL, OPTION_CHANGE | OPTION_IDENTITY,
		"pin an instance met for the first time without asking"},
	{"fingerprint", "SHA256:HASH", OPTION_IDENTITY | OPTION_CHANGE, "pin it only if its key is this one"},
};

static bool is_hidden(const struct subcommand *subcommand, const char *field)
{
	for (unsigned i = 0; i < ELEMENTS(subcommand->fields); i++) {
		if ((subcommand->fields[i] && strcmp(subcommand->fields[i], field) == 0) ||
			(subcommand->hidden[i] && strcmp(subcommand->hidden[i], field) == 0))
			return true;
	}
	return false;
}

/* must-change is the field must_change. */
static bool is_field(const char *option, size_t size, const char *field)
{
	if (strlen(field) != size)
		return false;
	for (size_t i = 0; i < size; i++) {
		if (option[i] != (field[i] == '_' ? '-' : field[i]))
			return false;
	}
	return true;
}

static const struct manifest_command *find_row(const struct manifest_set *manifests, const struct arguments *arguments)
{
	const struct subcommand *subcommand = arguments->subcommand;

	if (!subcommand)
		return NULL;
	if (subcommand->do_name)
		return manifest_find(manifests, subcommand->do_name);
	/* `send INSTANCE DO` names its row itself */
	unsigned place = arguments_option(arguments, "targets") ? 0 : 1;
	return strcmp(subcommand->words, "send") == 0 && arguments->count > place
		       ? manifest_find(manifests, arguments->positional[place])
		       : NULL;
}

static const struct manifest_field *find_field(
	const struct manifest_command *row, const struct subcommand *subcommand, const char *name, size_t size)
{
	for (unsigned i = 0; row && i < row->field_count; i++) {
		if (is_field(name, size, row->fields[i].name) && !is_hidden(subcommand, row->fields[i].name))
			return &row->fields[i];
	}
	return NULL;
}

enum option_kind { KIND_UNKNOWN, KIND_FLAG, KIND_VALUE, KIND_SWITCH /* a flag that may have =false */ };

static enum option_kind find_option(const struct manifest_set *manifests, const struct arguments *arguments,
	const char *name, size_t size, bool *ret_is_field)
{
	unsigned groups = OPTION_ALWAYS | (arguments->subcommand ? arguments->subcommand->groups : 0);
	const struct manifest_field *field =
		find_field(find_row(manifests, arguments), arguments->subcommand, name, size);

	if (!field && arguments->subcommand && arguments->subcommand->other_do)
		field = find_field(
			manifest_find(manifests, arguments->subcommand->other_do), arguments->subcommand, name, size);
	*ret_is_field = field != NULL;
	if (field)
		return field->type.kind == FIELD_BOOL ? KIND_SWITCH : KIND_VALUE;
	for (size_t i = 0; i < ELEMENTS(options); i++) {
		if ((options[i].group & groups) != 0 && strlen(options[i].name) == size &&
			memcmp(options[i].name, name, size) == 0)
			return options[i].value ? KIND_VALUE : KIND_FLAG;
	}
	return KIND_UNKNOWN;
}

/* The longest subcommand whose words the positional arguments begin with; takes those words away. */
static void take_subcommand(struct arguments *arguments)
{
	for (const struct subcommand *subcommand = subcommands; subcommand->words; subcommand++) {
		char words[64] = "";
		unsigned wanted = strchr(subcommand->words, ' ') ? 2 : 1;
		if (arguments->count != wanted)
			continue;
		(void)snprintf(words, sizeof(words), "%s%s%s", arguments->positional[0], wanted == 2 ? " " : "",
			wanted == 2 ? arguments->positional[1] : "");
		if (strcmp(words, subcommand->words) == 0) {
			arguments->subcommand = subcommand;
			arguments->count = 0;
			return;
		}
	}
}

static enum cli_exit take_option(const struct manifest_set *manifests, struct arguments *arguments, const char *text,
	const char *next, bool *ret_used_next)
{
	const char *equals = strchr(text, '=');
	size_t size = equals ? (size_t)(equals - text) : strlen(text);
	const char *value = equals ? equals + 1 : NULL;
	bool of_command;
	enum option_kind kind = find_option(manifests, arguments, text, size, &of_command);

	*ret_used_next = false;
	if (kind == KIND_UNKNOWN || arguments->option_count == ARGUMENTS_OPTIONS_MAX) {
		complain("unknown option --%.*s%s%s", (int)size, text, arguments->subcommand ? " for " : "",
			arguments->subcommand ? arguments->subcommand->words : "");
		return CLI_USAGE;
	}
	if (kind == KIND_FLAG && value) {
		complain("--%.*s takes no value", (int)size, text);
		return CLI_USAGE;
	}
	if (kind == KIND_VALUE && !value) {
		if (!next) {
			complain("--%s needs a value", text);
			return CLI_USAGE;
		}
		value = next;
		*ret_used_next = true;
	}
	arguments->options[arguments->option_count++] = (struct argument_option){text, size, value, of_command};
	return CLI_OK;
}

enum cli_exit arguments_parse(
	const struct manifest_set *manifests, int argc, char **argv, struct arguments *ret_arguments)
{
	struct arguments arguments = {0};
	bool only_positional = false, used_next;

	for (int i = 1; i < argc; i++) {
		if (!only_positional && strcmp(argv[i], "--") == 0) {
			only_positional = true;
		} else if (!only_positional && strncmp(argv[i], "--", 2) == 0) {
			enum cli_exit r = take_option(manifests, &arguments, argv[i] + 2, argv[i + 1], &used_next);
			if (r != CLI_OK)
				return r;
			i += used_next;
		} else if (!only_positional && argv[i][0] == '-' && argv[i][1] != '\0') {
			complain("unknown option %s", argv[i]);
			return CLI_USAGE;
		} else if (arguments.count == ARGUMENTS_POSITIONAL_MAX) {
			complain("too many arguments");
			return CLI_USAGE;
		} else {
			arguments.positional[arguments.count++] = argv[i];
			if (!arguments.subcommand)
				take_subcommand(&arguments);
		}
	}
	bool targets = arguments_option(&arguments, "targets") != NULL;
	if (targets && arguments.count < ARGUMENTS_POSITIONAL_MAX) {
		memmove(&arguments.positional[1], arguments.positional,
			arguments.count++ * sizeof(*arguments.positional));
		arguments.positional[0] = NULL;
	}
	arguments.help = arguments_option(&arguments, "help") != NULL;
	arguments.version = arguments_option(&arguments, "version") != NULL;
	if (!arguments.help && !arguments.version && !arguments.subcommand) {
		complain(arguments.count > 0 ? "unknown command %s (latchkey --help lists them)"
					     : "a command is missing (latchkey --help lists them)%s",
			arguments.count > 0 ? arguments.positional[0] : "");
		return CLI_USAGE;
	}
	if (!arguments.help && arguments.subcommand &&
		(arguments.count < arguments.subcommand->least || arguments.count > arguments.subcommand->most)) {
		const char *others = arguments.subcommand->positional;
		if (targets)
			others += strcspn(others, " ");
		complain("usage: latchkey %s %s%s", arguments.subcommand->words, targets ? "--targets FILE" : "",
			others);
		return CLI_USAGE;
	}
	*ret_arguments = arguments;
	return CLI_OK;
}

const char *arguments_option(const struct arguments *arguments, const char *name)
{
	for (unsigned i = arguments->option_count; i-- > 0;) {
		const struct argument_option *option = &arguments->options[i];
		if (!option->is_field && strlen(name) == option->name_size &&
			memcmp(name, option->name, option->name_size) == 0)
			return option->value ? option->value : "";
	}
	return NULL;
}

static int parse_integer(const char *text, size_t size, int64_t *ret_integer)
{
	int64_t integer = 0;

	if (size == 0 || size > 15)
		return -EINVAL;
	for (size_t i = 0; i < size; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		integer = integer * 10 + (text[i] - '0');
	}
	*ret_integer = integer;
	return 0;
}

int arguments_duration(const char *text, int64_t limit, int64_t *ret_seconds)
{
	static const struct {
		char letter;
		int64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	size_t size = strlen(text);
	int64_t unit = 1, number;

	for (size_t i = 0; size > 0 && i < ELEMENTS(units); i++) {
		if (text[size - 1] == units[i].letter) {
			unit = units[i].seconds;
			size--;
			break;
		}
	}
	if (parse_integer(text, size, &number) < 0 || number > limit / unit)
		return -EINVAL;
	*ret_seconds = number * unit;
	return 0;
}

int arguments_time(const char *text, int64_t now, int64_t *ret_time)
{
	static const char *const formats[] = {"%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ", "%Y-%m-%dZ"};
	int64_t seconds;

	if (text[0] == '+') {
		int r = arguments_duration(text + 1, 100LL * 366 * 86400, &seconds);
		if (r == 0)
			*ret_time = now + seconds;
		return r;
	}
	if (parse_integer(text, strlen(text), ret_time) == 0)
		return 0;
	for (size_t i = 0; i < ELEMENTS(formats); i++) {
		struct tm parts = {0};
		const char *end = strptime(text, formats[i], &parts);
		if (end && *end == '\0') {
			int day = parts.tm_mday;
			*ret_time = timegm(&parts);
			return parts.tm_mday == day ? 0 : -EINVAL; /* 31 February is no 3 March */
		}
	}
	return -EINVAL;
}

static cJSON *make_list(const char *text)
{
	cleanup_json cJSON *list = cJSON_CreateArray();

	while (list && *text) {
		size_t size = strcspn(text, ",");
		cleanup_free char *element = strndup(text, size);
		cJSON *node = element ? cJSON_CreateString(element) : NULL;
		if (!node || !cJSON_AddItemToArray(list, node)) {
			cJSON_Delete(node);
			return NULL;
		}
		text += size + (text[size] == ',');
	}
	return steal_pointer(&list);
}

/* NULL for a value that is not of the field's kind, or without memory. */
static cJSON *make_value(const struct field_type *type, const char *text, int64_t now)
{
	int64_t integer;

	switch (type->kind) {
	case FIELD_INT:
		return parse_integer(text, strlen(text), &integer) < 0 ? NULL : cJSON_CreateNumber((double)integer);
	case FIELD_TIME:
		return arguments_time(text, now, &integer) < 0 ? NULL : cJSON_CreateNumber((double)integer);
	case FIELD_BOOL:
		if (strcmp(text, "") == 0 || strcmp(text, "true") == 0 || strcmp(text, "yes") == 0)
			return cJSON_CreateTrue();
		return strcmp(text, "false") == 0 || strcmp(text, "no") == 0 ? cJSON_CreateFalse() : NULL;
	case FIELD_NAMES:
	case FIELD_CIDRS:
		return make_list(text);
	case FIELD_OBJECT:
		return NULL;
	case FIELD_USER:
	case FIELD_NAME:
	case FIELD_LABEL:
	case FIELD_TEXT:
	case FIELD_COLUMN:
	case FIELD_PATH:
	case FIELD_ENUM:
	case FIELD_KEY:
	case FIELD_BASE64:
	case FIELD_ID:
		break;
	}
	return cJSON_CreateString(text);
}

/* A field of the other row, such as --length without --generate, must not be passed over in silence. */
static enum cli_exit check_options(const struct arguments *arguments, const struct manifest_command *row)
{
	for (unsigned i = 0; i < arguments->option_count; i++) {
		const struct argument_option *option = &arguments->options[i];
		if (option->is_field && !find_field(row, arguments->subcommand, option->name, option->name_size)) {
			complain("--%.*s has no meaning for %s", (int)option->name_size, option->name, row->name);
			return CLI_USAGE;
		}
	}
	return CLI_OK;
}

enum cli_exit arguments_fields(
	const struct arguments *arguments, const struct manifest_command *row, int64_t now, cJSON *command)
{
	if (check_options(arguments, row) != CLI_OK)
		return CLI_USAGE;
	for (unsigned i = 0; i < row->field_count; i++) {
		const struct manifest_field *field = &row->fields[i];
		const char *text = NULL;
		for (unsigned j = 0; j < ELEMENTS(arguments->subcommand->fields); j++) {
			if (arguments->subcommand->fields[j] &&
				strcmp(arguments->subcommand->fields[j], field->name) == 0 && j + 1 < arguments->count)
				text = arguments->positional[j + 1];
		}
		for (unsigned j = 0; !text && j < arguments->option_count; j++) {
			const struct argument_option *option = &arguments->options[j];
			if (option->is_field && is_field(option->name, option->name_size, field->name))
				text = option->value ? option->value : "";
		}
		if (!text)
			continue;
		cJSON *value = make_value(&field->type, text, now);
		if (!value || !cJSON_AddItemToObject(command, field->name, value)) {
			cJSON_Delete(value);
			complain("%s: not a good value for %s", text, field->name);
			return CLI_USAGE;
		}
	}
	return CLI_OK;
}

static bool find_exact(const struct manifest_command *row, const char *name)
{
	for (unsigned i = 0; row && i < row->field_count; i++) {
		if (strcmp(row->fields[i].name, name) == 0)
			return true;
	}
	return false;
}

static const char *kind_word(const struct field_type *type)
{
	switch (type->kind) {
	case FIELD_INT:
		return "NUMBER";
	case FIELD_TIME:
		return "TIME";
	case FIELD_NAMES:
		return "NAME,…";
	case FIELD_CIDRS:
		return "ADDRESS[/BITS],…";
	case FIELD_PATH:
		return "PATH";
	case FIELD_BOOL:
	case FIELD_USER:
	case FIELD_NAME:
	case FIELD_LABEL:
	case FIELD_TEXT:
	case FIELD_COLUMN:
	case FIELD_ENUM:
	case FIELD_KEY:
	case FIELD_BASE64:
	case FIELD_ID:
	case FIELD_OBJECT:
		break;
	}
	return "TEXT";
}

static void print_field(const struct manifest_field *field)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "%s", field->name);
	for (char *at = name; *at; at++)
		*at = *at == '_' ? '-' : *at;
	if (field->type.kind == FIELD_BOOL)
		(void)printf("  --%s[=false]\n", name);
	else if (field->type.kind == FIELD_ENUM)
		(void)printf("  --%s %.*s\n", name, (int)field->type.choices_size, field->type.choices);
	else
		(void)printf("  --%s %s\n", name, kind_word(&field->type));
}

void arguments_help(const struct manifest_set *manifests, const struct subcommand *subcommand)
{
	const struct manifest_command *row = subcommand->do_name ? manifest_find(manifests, subcommand->do_name) : NULL;
	const struct manifest_command *other =
		subcommand->other_do ? manifest_find(manifests, subcommand->other_do) : NULL;

	(void)printf("usage: latchkey %s %s [OPTION…]\n\n%s\n\n", subcommand->words, subcommand->positional,
		subcommand->summary);
	for (unsigned i = 0; row && i < row->field_count; i++) {
		if (!is_hidden(subcommand, row->fields[i].name))
			print_field(&row->fields[i]);
	}
	for (unsigned i = 0; other && i < other->field_count; i++) {
		const char *name = other->fields[i].name;
		if (!is_hidden(subcommand, name) && !find_exact(row, name))
			print_field(&other->fields[i]);
	}
	for (size_t i = 0; i < ELEMENTS(options); i++) {
		if ((options[i].group & (subcommand->groups | OPTION_ALWAYS)) == 0)
			continue;
		int width = printf("  --%s%s%s", options[i].name, options[i].value ? " " : "",
			options[i].value ? options[i].value : "");
		(void)printf("%*s%s\n", width < 30 ? 30 - width : 1, "", options[i].help);
	}
	if (row)
		(void)printf("\nTIME is Unix seconds, +DURATION (+8h, +30d) or YYYY-MM-DD[THH:MM[:SS]]Z.\n");
}
