/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/account_files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/account_index.h"
#include "lib/file.h"

#define DEFINITIONS_MAX 65536u /* login.defs is 10 KiB everywhere */
#define MAP_FROM (1 << 20)     /* bytes; fewer are copied in less than it costs to map them */
#define MEMO_NAME_MAX 64u      /* a longer name is not remembered */
#define GROUPS_MAX 65536u      /* NGROUPS_MAX */

/* One command asks for its user's line some ten times; among 100,000 accounts each search reads megabytes. */
struct account_memo {
	char name[MEMO_NAME_MAX]; /* "": nothing is known */
	int result;
	size_t offset, size; /* the line, when the result is 0 */
};

/*
 * Each of the processes of a reset reads megabytes among 100,000 accounts, and what that costs is fresh memory. The
 * byte behind the last one is 0 in the last page, so a file that fills its pages is read.
 */
static bool map(int descriptor, struct account_table *table)
{
	size_t size = (size_t)table->seen.st_size;
	long page = sysconf(_SC_PAGESIZE);

	if (table->seen.st_size < MAP_FROM || size > ACCOUNT_TABLE_MAX || page <= 0 || size % (size_t)page == 0)
		return false;
	void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, descriptor, 0);
	if (bytes == MAP_FAILED)
		return false;
	table->bytes = bytes;
	table->size = size;
	table->mapped = true;
	return true;
}

int account_table_read_in(int directory, const char *name, bool to_edit, struct account_table *ret_table)
{
	cleanup_close int descriptor = -1;

	int r = file_open(directory, name, &descriptor, &ret_table->seen);
	if (r == 0 && (to_edit || !map(descriptor, ret_table)))
		r = file_read_descriptor(descriptor, ACCOUNT_TABLE_MAX, &ret_table->bytes, &ret_table->size);
	if (r == 0)
		ret_table->memo = calloc(1, sizeof(*ret_table->memo)); /* without it nothing is remembered */
	return r;
}

static int open_parent(int root, const char *path, int *ret_directory, const char **ret_name)
{
	char parent[128];
	const char *slash = strrchr(path, '/');

	if (!slash || (size_t)(slash - path) >= sizeof(parent))
		return -EINVAL;
	memcpy(parent, path, (size_t)(slash - path));
	parent[slash - path] = '\0';
	*ret_name = slash + 1;
	return file_open_directory(root, parent, ret_directory);
}

int account_table_read(int root, const char *path, struct account_table *ret_table)
{
	cleanup_close int directory = -1;
	const char *name;

	int r = open_parent(root, path, &directory, &name);
	return r < 0 ? r : account_table_read_in(directory, name, false, ret_table);
}

int account_table_refresh(int root, const char *path, struct account_table *table)
{
	cleanup_close int directory = -1;
	const char *name;
	struct stat now;

	int r = open_parent(root, path, &directory, &name);
	if (r < 0)
		return r;
	if (table->bytes && fstatat(directory, name, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
		account_table_is_of(table, &now))
		return 0;
	account_table_free(table);
	return account_table_read_in(directory, name, false, table);
}

bool account_table_is_of(const struct account_table *table, const struct stat *now)
{
	const struct stat *seen = &table->seen;

	return seen->st_dev == now->st_dev && seen->st_ino == now->st_ino && seen->st_size == now->st_size &&
	       seen->st_mtim.tv_sec == now->st_mtim.tv_sec && seen->st_mtim.tv_nsec == now->st_mtim.tv_nsec &&
	       seen->st_ctim.tv_sec == now->st_ctim.tv_sec && seen->st_ctim.tv_nsec == now->st_ctim.tv_nsec;
}

void account_table_moved(const struct account_table *table, size_t offset, size_t old_size, size_t size)
{
	struct account_memo *memo = table->memo;

	if (!memo || memo->name[0] == '\0')
		return;
	/* A change of a field behind the name leaves the line where it is. */
	size_t start = memo->offset + strlen(memo->name) + 1;
	if (memo->result == 0 && offset >= start && offset + old_size <= memo->offset + memo->size)
		memo->size += size - old_size;
	else
		memo->name[0] = '\0';
}

void account_table_free(struct account_table *table)
{
	if (table->mapped) {
		(void)munmap(table->bytes, table->size);
	} else {
		if (table->bytes && (table->seen.st_mode & S_IROTH) == 0)
			explicit_bzero(table->bytes, table->size);
		free(table->bytes);
	}
	free(table->memo);
	account_index_free(table->index);
	*table = (struct account_table){0};
}

bool account_next_line(const struct account_table *table, size_t *offset, struct account_line *ret_line)
{
	if (*offset >= table->size)
		return false;
	const char *start = table->bytes + *offset;
	const char *newline = memchr(start, '\n', table->size - *offset);
	size_t size = newline ? (size_t)(newline - start) : table->size - *offset;
	*ret_line = (struct account_line){start, size};
	*offset += size + (newline ? 1 : 0);
	return true;
}

/* One look for the bytes, not one at each line: of 100,000 lines nearly all are somebody else's. */
bool account_next_with(const struct account_table *table, const char *bytes, size_t size, size_t *offset,
	struct account_line *ret_line)
{
	if (*offset >= table->size)
		return false;
	const char *start = table->bytes + *offset;
	const char *found = memmem(start, table->size - *offset, bytes, size);
	if (!found) {
		*offset = table->size;
		return false;
	}
	const char *newline = memrchr(start, '\n', (size_t)(found - start));
	*offset = (size_t)((newline ? newline + 1 : start) - table->bytes);
	return account_next_line(table, offset, ret_line);
}

/* Where the next line of that name begins. `field` is a newline, the name, a colon; the first line has none before it.
 */
static const char *next_of_name(const struct account_table *table, const char *from, const char *field, size_t size)
{
	if (from == table->bytes && table->size >= size - 1 && memcmp(from, field + 1, size - 1) == 0)
		return from;
	const char *found = memmem(from, table->size - (size_t)(from - table->bytes), field, size);
	return found ? found + 1 : NULL;
}

static int search_line(const struct account_table *table, const char *name, size_t size, struct account_line *ret_line)
{
	char usual[MEMO_NAME_MAX + 2], *field = usual;
	cleanup_free char *rare = NULL;

	if (table->size == 0 || memchr(name, '\n', size))
		return -ENOENT;
	if (size >= MEMO_NAME_MAX)
		field = rare = malloc(size + 2);
	if (!field)
		return -ENOMEM;
	field[0] = '\n';
	memcpy(field + 1, name, size);
	field[size + 1] = ':';
	const char *found = next_of_name(table, table->bytes, field, size + 2);
	if (!found)
		return -ENOENT;
	if (next_of_name(table, found + 1, field, size + 2))
		return -ENOTUNIQ;
	size_t offset = (size_t)(found - table->bytes);
	(void)account_next_line(table, &offset, ret_line);
	return 0;
}

int account_find_line(const struct account_table *table, const char *name, struct account_line *ret_line)
{
	struct account_memo *memo = table->memo;
	size_t size = strlen(name);

	if (table->index && !memchr(name, ':', size))
		return account_index_find(table, name, size, ret_line);
	if (!memo || size == 0 || size >= sizeof(memo->name))
		return search_line(table, name, size, ret_line);
	if (strcmp(memo->name, name) != 0) {
		struct account_line line = {0};
		memo->result = search_line(table, name, size, &line);
		memo->offset = memo->result == 0 ? (size_t)(line.start - table->bytes) : 0;
		memo->size = line.size;
		memcpy(memo->name, name, size + 1);
	}
	if (memo->result == 0)
		*ret_line = (struct account_line){table->bytes + memo->offset, memo->size};
	return memo->result;
}

/* Splits a copy of the line at its colons; exactly `count` fields. */
static int split(const struct account_line *line, char **ret_text, const char **fields, unsigned count)
{
	if (line->size > ACCOUNT_LINE_MAX || memchr(line->start, '\0', line->size))
		return -EBADMSG;
	cleanup_free char *text = strndup(line->start, line->size);
	if (!text)
		return -ENOMEM;
	char *at = text;
	for (unsigned i = 0; i < count; i++) {
		fields[i] = at;
		char *colon = strchr(at, ':');
		if ((colon != NULL) != (i + 1 < count))
			return -EBADMSG;
		if (colon) {
			*colon = '\0';
			at = colon + 1;
		}
	}
	*ret_text = steal_pointer(&text);
	return 0;
}

static bool parse_id(const char *text, uint32_t *ret_id)
{
	uint64_t id = 0;

	if (*text == '\0')
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		id = id * 10 + (uint64_t)(*text - '0');
		if (id > UINT32_MAX)
			return false;
	}
	*ret_id = (uint32_t)id;
	return true;
}

/*
 * A number of shadow(5), as the C library takes it: -1 when empty. False for what has it read the whole line as none,
 * also a carriage return behind the last colon.
 */
static bool parse_number(const char *text, int64_t *ret_number)
{
	int64_t number = *text == '\0' ? -1 : 0;

	if (*text != '\0') {
		text += strspn(text, " \t");
		text += *text == '+';
		if (*text == '\0')
			return false;
	}
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		number = number > UINT32_MAX ? number : number * 10 + (*text - '0');
	}
	*ret_number = number;
	return true;
}

int account_parse(const struct account_line *line, struct account *ret_account)
{
	const char *fields[7];
	struct account account = {0};

	int r = split(line, &account.text, fields, 7);
	if (r < 0)
		return r;
	account.name = fields[0];
	account.password = fields[1];
	account.gecos = fields[4];
	account.home = fields[5];
	account.shell = fields[6];
	if (!parse_id(fields[2], &account.uid) || !parse_id(fields[3], &account.gid)) {
		account_free(&account);
		return -EBADMSG;
	}
	*ret_account = account;
	return 0;
}

int shadow_parse(const struct account_line *line, struct shadow_entry *ret_entry)
{
	const char *fields[9];
	struct shadow_entry entry = {0};

	int r = split(line, &entry.text, fields, 9);
	if (r < 0)
		return r;
	entry.name = fields[0];
	entry.hash = fields[1];
	int64_t flag, *const numbers[] = {&entry.last_change, &entry.minimum_age, &entry.maximum_age, &entry.warn,
			      &entry.inactive, &entry.expire, &flag};
	for (unsigned i = 0; i < ELEMENTS(numbers); i++) {
		if (!parse_number(fields[2 + i], numbers[i])) {
			shadow_free(&entry);
			return -EBADMSG;
		}
	}
	*ret_entry = entry;
	return 0;
}

int group_parse(const struct account_line *line, struct group_entry *ret_entry)
{
	const char *fields[4];
	struct group_entry entry = {0};

	int r = split(line, &entry.text, fields, 4);
	if (r < 0)
		return r;
	entry.name = fields[0];
	entry.password = fields[1];
	entry.members = fields[3];
	if (!parse_id(fields[2], &entry.gid)) {
		group_free(&entry);
		return -EBADMSG;
	}
	*ret_entry = entry;
	return 0;
}

int account_find(const struct account_table *passwd, const char *name, struct account *ret_account)
{
	struct account_line line;
	int r = account_find_line(passwd, name, &line);
	return r < 0 ? r : account_parse(&line, ret_account);
}

int shadow_find(const struct account_table *shadow, const char *name, struct shadow_entry *ret_entry)
{
	struct account_line line;
	int r = account_find_line(shadow, name, &line);
	return r < 0 ? r : shadow_parse(&line, ret_entry);
}

int group_find(const struct account_table *group, const char *name, struct group_entry *ret_entry)
{
	struct account_line line;
	int r = account_find_line(group, name, &line);
	return r < 0 ? r : group_parse(&line, ret_entry);
}

void account_free(struct account *account)
{
	free(account->text);
	*account = (struct account){0};
}

void shadow_free(struct shadow_entry *entry)
{
	free(entry->text);
	*entry = (struct shadow_entry){0};
}

void group_free(struct group_entry *entry)
{
	free(entry->text);
	*entry = (struct group_entry){0};
}

static bool list_has(const char *list, size_t list_size, const char *name)
{
	size_t size = strlen(name);
	const char *end = list + list_size;

	for (const char *at = list; at < end;) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		size_t member = (size_t)((comma ? comma : end) - at);
		if (member == size && memcmp(at, name, size) == 0)
			return true;
		if (!comma)
			break;
		at = comma + 1;
	}
	return false;
}

bool group_has_member(const struct group_entry *entry, const char *name)
{
	return list_has(entry->members, strlen(entry->members), name);
}

int account_groups(
	const struct account_table *group, const char *name, gid_t primary, gid_t **ret_groups, size_t *ret_count)
{
	struct account_line line;
	size_t offset = 0, count = 1;
	cleanup_free gid_t *groups = malloc(sizeof(*groups));

	if (!groups)
		return -ENOMEM;
	groups[0] = primary;
	while (account_next_line(group, &offset, &line)) {
		const char *last = memrchr(line.start, ':', line.size);
		struct group_entry entry;

		if (!last || !list_has(last + 1, line.size - (size_t)(last + 1 - line.start), name))
			continue;
		int r = group_parse(&line, &entry);
		if (r == -EBADMSG)
			continue;
		if (r < 0)
			return r;
		gid_t gid = entry.gid;
		group_free(&entry);
		if (gid == primary)
			continue;
		if (count == GROUPS_MAX)
			return -E2BIG;
		gid_t *more = reallocarray(groups, count + 1, sizeof(*groups));
		if (!more)
			return -ENOMEM;
		groups = more;
		groups[count++] = gid;
	}
	*ret_groups = steal_pointer(&groups);
	*ret_count = count;
	return 0;
}

bool account_line_number(const struct account_line *line, unsigned field, uint32_t *ret_number)
{
	const char *at = line->start, *end = line->start + line->size;
	uint64_t number = 0;

	for (unsigned i = 0; i < field && at; i++) {
		at = memchr(at, ':', (size_t)(end - at));
		at = at ? at + 1 : NULL;
	}
	if (!at)
		return false;
	const char *digit = at;
	for (; digit < end && *digit >= '0' && *digit <= '9' && number <= UINT32_MAX; digit++)
		number = number * 10 + (uint64_t)(*digit - '0');
	if (digit == at || number > UINT32_MAX || (digit < end && *digit != ':' && *digit != '\r'))
		return false;
	*ret_number = (uint32_t)number;
	return true;
}

bool account_next_number(const struct account_table *table, unsigned field, uint32_t number, size_t *offset,
	struct account_line *ret_line)
{
	char digits[16];
	uint32_t found;

	int size = snprintf(digits, sizeof(digits), "%" PRIu32, number);
	while (account_next_with(table, digits, (size_t)size, offset, ret_line)) {
		if (account_line_number(ret_line, field, &found) && found == number)
			return true;
	}
	return false;
}

unsigned account_count_uid(const struct account_table *passwd, uid_t uid)
{
	struct account_line line;
	size_t offset = 0;
	unsigned count = 0;

	while (account_next_number(passwd, 2, uid, &offset, &line))
		count++;
	return count;
}

int login_definitions_read(int root, struct login_definitions *ret_definitions)
{
	struct login_definitions definitions = {1000, 60000, 1000, 60000};
	cleanup_account_table struct account_table table = {0};
	struct account_line line;
	size_t offset = 0;

	int r = account_table_read(root, "etc/login.defs", &table);
	if (r < 0 && r != -ENOENT)
		return r;
	while (r == 0 && account_next_line(&table, &offset, &line)) {
		static const struct {
			const char *name;
			size_t offset;
		} keys[] = {
			{"UID_MIN", offsetof(struct login_definitions, uid_min)},
			{"UID_MAX", offsetof(struct login_definitions, uid_max)},
			{"GID_MIN", offsetof(struct login_definitions, gid_min)},
			{"GID_MAX", offsetof(struct login_definitions, gid_max)},
		};
		char text[128], *rest = text;
		if (line.size >= sizeof(text))
			continue;
		memcpy(text, line.start, line.size);
		text[line.size] = '\0';
		const char *key = strsep(&rest, " \t");
		if (!rest)
			continue;
		rest += strspn(rest, " \t");
		rest[strcspn(rest, " \t\r")] = '\0';
		for (unsigned i = 0; i < ELEMENTS(keys); i++) {
			uint32_t id;
			if (strcmp(keys[i].name, key) == 0 && parse_id(rest, &id))
				memcpy((char *)&definitions + keys[i].offset, &id, sizeof(id));
		}
	}
	if (definitions.uid_min > definitions.uid_max) {
		definitions.uid_min = 1000;
		definitions.uid_max = 60000;
	}
	if (definitions.gid_min > definitions.gid_max) {
		definitions.gid_min = 1000;
		definitions.gid_max = 60000;
	}
	*ret_definitions = definitions;
	return 0;
}

bool account_shell_is_nologin(const char *shell)
{
	static const char *const names[] = {"nologin", "false", "true", "sync", "halt", "shutdown"};
	const char *name = strrchr(shell, '/');

	name = name ? name + 1 : shell;
	for (unsigned i = 0; i < ELEMENTS(names); i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}
