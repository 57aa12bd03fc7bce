/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/file.h"

#define WORD_MAX 128u /* the longest name in a list is a command or group */

int config_initialise(const struct config_table *table, struct config *ret_config)
{
	cleanup_config struct config config = {.table = table};

	config.values = calloc(table->count + 1, sizeof(*config.values));
	config.sources = calloc(table->count + 1, sizeof(*config.sources));
	if (!config.values || !config.sources)
		return -ENOMEM;
	for (size_t i = 0; i < table->count; i++) {
		if (!table->keys[i].default_value)
			continue;
		config.values[i] = strdup(table->keys[i].default_value);
		if (!config.values[i])
			return -ENOMEM;
	}
	*ret_config = config;
	config = (struct config){0};
	return 0;
}

void config_free(struct config *config)
{
	for (size_t i = 0; config->table && i < config->table->count; i++) {
		if (config->values)
			free(config->values[i]);
		if (config->sources)
			free(config->sources[i]);
	}
	for (size_t i = 0; i < config->named_count; i++) {
		free(config->named[i].name);
		free(config->named[i].value);
		free(config->named[i].source);
	}
	free(config->values);
	free(config->sources);
	free(config->named);
	*config = (struct config){0};
}

static int find_key(const struct config_table *table, const char *section, const char *key, size_t *ret_index)
{
	for (size_t i = 0; i < table->count; i++) {
		if (strcmp(table->keys[i].section, section) == 0 && strcmp(table->keys[i].key, key) == 0) {
			*ret_index = i;
			return 0;
		}
	}
	return -ENOENT;
}

static bool parse_integer(const char *text, const char **ret_end, int64_t *ret_integer)
{
	int64_t integer = 0;
	const char *at = text;

	while (*at >= '0' && *at <= '9' && at - text < 16)
		integer = integer * 10 + (*at++ - '0');
	if (at == text || (at - text > 1 && *text == '0'))
		return false;
	*ret_end = at;
	*ret_integer = integer;
	return true;
}

static bool is_choice(const char *choices, const char *value)
{
	size_t size = strlen(value);

	for (const char *at = choices;; at++) {
		size_t choice = strcspn(at, "|");
		if (choice == size && strncmp(at, value, size) == 0)
			return true;
		at += choice;
		if (*at == '\0')
			return false;
	}
}

static bool value_is_valid(const struct config_key *key, const char *value)
{
	int64_t low, high, integer;
	const char *end;

	switch (key->kind) {
	case CONFIG_YES_NO:
		return is_choice("yes|no", value);
	case CONFIG_INTEGER:
		return parse_integer(key->range, &end, &low) && parse_integer(end + 1, &end, &high) &&
		       parse_integer(value, &end, &integer) && *end == '\0' && integer >= low && integer <= high;
	case CONFIG_CHOICE:
		return is_choice(key->range, value);
	case CONFIG_TEXT:
		return *value != '\0';
	case CONFIG_LIST:
		for (const char *at = value; *at;) {
			size_t size = strcspn(at, " \t");
			if (size >= WORD_MAX)
				return false;
			at += size;
			at += strspn(at, " \t");
		}
		return true;
	}
	return false;
}

struct parser {
	struct config *config;
	const char *source;
	unsigned line;
	char section[CONFIG_LINE_MAX + 1]; /* "" before the first */
	const char *name;                  /* of a named section, inside `section` */
	bool *seen;                        /* keys of the table this file has set */
	char *error;
};

static int refuse(const struct parser *parser, const char *what)
{
	(void)snprintf(parser->error, CONFIG_ERROR_MAX, "%s:%u: %s", parser->source, parser->line, what);
	return -EBADMSG;
}

/* Ours is not a terminal: what is not printable does not belong in a veto file. */
static bool line_is_text(const char *line, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)line[i];
		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

static int set_named(const struct parser *parser, size_t index, const char *value, const char *source)
{
	struct config *config = parser->config;

	for (size_t i = 0; i < config->named_count; i++) {
		struct config_named_value *named = &config->named[i];
		if (named->key != index || strcmp(named->name, parser->name) != 0)
			continue;
		if (named->file == config->files)
			return refuse(parser, "this key is set twice for that name");
		/* An earlier file's: a drop-in replaces it. */
		char *copy = strdup(value), *copy_source = strdup(source);
		if (!copy || !copy_source) {
			free(copy);
			free(copy_source);
			return -ENOMEM;
		}
		free(named->value);
		free(named->source);
		named->value = copy;
		named->source = copy_source;
		named->file = config->files;
		return 0;
	}
	if (config->named_count == (size_t)CONFIG_NAMED_MAX * 8)
		return refuse(parser, "too many named sections");
	struct config_named_value *more = reallocarray(config->named, config->named_count + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	config->named = more;
	struct config_named_value *named = &more[config->named_count];
	*named = (struct config_named_value){.name = strdup(parser->name),
		.key = index,
		.value = strdup(value),
		.source = strdup(source),
		.file = config->files};
	if (!named->name || !named->value || !named->source) {
		free(named->name);
		free(named->value);
		free(named->source);
		return -ENOMEM;
	}
	config->named_count++;
	return 0;
}

static int set_value(const struct parser *parser, const char *key_name, const char *value)
{
	struct config *config = parser->config;
	char section[64], source[CONFIG_ERROR_MAX];
	size_t index, size = strcspn(parser->section, " ");

	if (parser->section[0] == '\0')
		return refuse(parser, "a key stands before the first [section]");
	if (size >= sizeof(section))
		return refuse(parser, "unknown section");
	memcpy(section, parser->section, size);
	section[size] = '\0';
	if (find_key(config->table, section, key_name, &index) < 0)
		return refuse(parser, "unknown key in this section");
	const struct config_key *key = &config->table->keys[index];
	if (!value_is_valid(key, value))
		return refuse(parser, "the value is outside what this key takes");
	(void)snprintf(source, sizeof(source), "%s:%u", parser->source, parser->line);
	if (key->named)
		return set_named(parser, index, value, source);
	if (parser->seen[index])
		return refuse(parser, "this key is set twice");
	parser->seen[index] = true;
	char *copy = strdup(value), *copy_source = strdup(source);
	if (!copy || !copy_source) {
		free(copy);
		free(copy_source);
		return -ENOMEM;
	}
	free(config->values[index]);
	free(config->sources[index]);
	config->values[index] = copy;
	config->sources[index] = copy_source;
	return 0;
}

static int enter_section(struct parser *parser, const char *text, size_t size)
{
	if (size < 3 || text[size - 1] != ']')
		return refuse(parser, "a section is [name]");
	memcpy(parser->section, text + 1, size - 2);
	parser->section[size - 2] = '\0';
	char *blank = strchr(parser->section, ' ');
	parser->name = NULL;
	size_t name_size = blank ? (size_t)(blank - parser->section) : size - 2;
	bool named = false, known = false;
	for (size_t i = 0; i < parser->config->table->count; i++) {
		const struct config_key *key = &parser->config->table->keys[i];
		if (strlen(key->section) == name_size && strncmp(key->section, parser->section, name_size) == 0) {
			known = true;
			named = key->named;
		}
	}
	if (!known)
		return refuse(parser, "unknown section");
	if (named != (blank != NULL) || (blank && (blank[1] == '\0' || strchr(blank + 1, ' '))))
		return refuse(parser, named ? "this section needs one name" : "this section takes no name");
	parser->name = blank ? blank + 1 : NULL;
	return 0;
}

static int parse_line(struct parser *parser, const char *text, size_t size)
{
	char line[CONFIG_LINE_MAX + 1];

	if (size > CONFIG_LINE_MAX)
		return refuse(parser, "the line is longer than 4096 bytes");
	if (!line_is_text(text, size))
		return refuse(parser, "the line has a control character");
	if (size == 0 || text[0] == '#')
		return 0;
	if (text[0] == ' ' || text[0] == '\t')
		return refuse(parser, "the line begins with a blank");
	if (text[0] == '[')
		return enter_section(parser, text, size);
	memcpy(line, text, size);
	line[size] = '\0';
	char *equals = strchr(line, '=');
	if (!equals)
		return refuse(parser, "neither a [section] nor key = value");
	char *end = equals;
	while (end > line && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*end = '\0';
	char *value = equals + 1;
	value += strspn(value, " \t");
	end = value + strlen(value);
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*end = '\0';
	return set_value(parser, line, value);
}

int config_parse(
	struct config *config, const char *source, const char *text, size_t size, char ret_error[CONFIG_ERROR_MAX])
{
	cleanup_free bool *seen = calloc(config->table->count + 1, sizeof(*seen));
	cleanup_free struct parser *parser = calloc(1, sizeof(*parser));

	if (!seen || !parser)
		return -ENOMEM;
	*parser = (struct parser){.config = config, .source = source, .seen = seen, .error = ret_error};
	config->files++;
	for (size_t offset = 0; offset < size;) {
		const char *newline = memchr(text + offset, '\n', size - offset);
		size_t line = newline ? (size_t)(newline - text) - offset : size - offset;
		parser->line++;
		int r = parse_line(parser, text + offset, line);
		if (r < 0)
			return r;
		offset += line + 1;
	}
	return 0;
}

static int load_file(struct config *config, int directory, const char *name, char ret_error[CONFIG_ERROR_MAX])
{
	cleanup_free char *text = NULL;
	cleanup_close int descriptor = -1;
	struct stat status;
	size_t size;

	int r = file_open(directory, name, &descriptor, &status);
	if (r < 0)
		return r;
	if (geteuid() == 0 && (status.st_uid != 0 || (status.st_mode & 022) != 0)) {
		(void)snprintf(
			ret_error, CONFIG_ERROR_MAX, "%s: must belong to root and be writable by root only", name);
		return -EPERM;
	}
	r = file_read_descriptor(descriptor, CONFIG_FILE_MAX, &text, &size);
	if (r < 0)
		return r;
	return config_parse(config, name, text, size, ret_error);
}

int config_load(int root, const char *directory, const char *file, const struct config_table *table,
	struct config *ret_config, char ret_error[CONFIG_ERROR_MAX])
{
	cleanup_config struct config config = {0};
	cleanup_close int folder = -1, drop_ins = -1;
	cleanup_names char **names = NULL;
	char drop_in_directory[256];
	size_t count = 0;

	(void)snprintf(ret_error, CONFIG_ERROR_MAX, "%s: cannot be read", file);
	int r = config_initialise(table, &config);
	if (r < 0)
		return r;
	r = file_open_directory(root, directory, &folder);
	if (r == -ENOENT) {
		*ret_config = config;
		config = (struct config){0};
		return 0;
	}
	if (r < 0)
		return r;
	r = load_file(&config, folder, file, ret_error);
	if (r < 0 && r != -ENOENT)
		return r;
	(void)snprintf(drop_in_directory, sizeof(drop_in_directory), "%s.d", file);
	r = file_open_directory(folder, drop_in_directory, &drop_ins);
	if (r == 0)
		r = file_list(drop_ins, ".", CONFIG_DROP_INS_MAX, &names, &count);
	if (r < 0 && r != -ENOENT)
		return r;
	for (size_t i = 0; i < count; i++) {
		size_t size = strlen(names[i]);
		if (size <= 5 || strcmp(names[i] + size - 5, ".conf") != 0 || names[i][0] == '.')
			continue;
		r = load_file(&config, drop_ins, names[i], ret_error);
		if (r < 0)
			return r;
	}
	ret_error[0] = '\0';
	*ret_config = config;
	config = (struct config){0};
	return 0;
}

const char *config_text(const struct config *config, const char *section, const char *key)
{
	size_t index;
	return find_key(config->table, section, key, &index) == 0 ? config->values[index] : NULL;
}

int64_t config_integer(const struct config *config, const char *section, const char *key)
{
	const char *text = config_text(config, section, key), *end;
	int64_t integer = 0;
	return text && parse_integer(text, &end, &integer) ? integer : 0;
}

bool config_yes(const struct config *config, const char *section, const char *key)
{
	const char *text = config_text(config, section, key);
	return text && strcmp(text, "yes") == 0;
}

const char *config_source(const struct config *config, const char *section, const char *key)
{
	size_t index;
	if (find_key(config->table, section, key, &index) < 0 || !config->sources[index])
		return "default";
	return config->sources[index];
}

const char *config_named_text(const struct config *config, const char *section, const char *name, const char *key)
{
	size_t index;

	if (find_key(config->table, section, key, &index) < 0)
		return NULL;
	for (size_t i = 0; i < config->named_count; i++) {
		if (config->named[i].key == index && strcmp(config->named[i].name, name) == 0)
			return config->named[i].value;
	}
	return NULL;
}

bool config_next_word(const char **at, char *word, size_t size)
{
	for (;;) {
		*at += strspn(*at, " \t");
		size_t length = strcspn(*at, " \t");
		if (length == 0)
			return false;
		const char *start = *at;
		*at += length;
		if (length >= size)
			continue; /* value_is_valid keeps words short */
		memcpy(word, start, length);
		word[length] = '\0';
		return true;
	}
}

static bool pattern_matches(const char *pattern, const char *word)
{
	size_t size = strlen(pattern);
	if (size > 0 && pattern[size - 1] == '*')
		return strncmp(pattern, word, size - 1) == 0;
	return strcmp(pattern, word) == 0;
}

bool config_list_allows(const char *list, const char *word)
{
	char pattern[WORD_MAX];
	bool allowed = false;

	for (const char *at = list ? list : ""; config_next_word(&at, pattern, sizeof(pattern));) {
		if (pattern[0] == '!' && pattern_matches(pattern + 1, word))
			return false;
		if (pattern[0] != '!' && pattern_matches(pattern, word))
			allowed = true;
	}
	return allowed;
}
