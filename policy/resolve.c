/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/resolve.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/file.h"

#define SUDOERS_MAX (1u << 20)
#define SUDOERS_FILES_MAX 256u
#define SUDOERS_DEPTH_MAX 8u /* of nested @include; sudo allows 128 */
#define ALIAS_DEPTH_MAX 8u
#define OURS "latchkey-" /* /etc/sudoers.d/latchkey-USER: what policy itself let us give */

/* Members of these can become root or read and write what root owns. */
static const char *const privileged_groups[] = {"root", "sudo", "wheel", "admin", "docker", "lxd", "incus-admin",
	"incus", "disk", "shadow", "kmem", "libvirt", "kvm", "podman", "google-sudoers", "adm", "staff"};

static int read_sudoers_file(int etc, const char *name, unsigned depth, struct buffer *out);

/* sudo skips names with a dot or a trailing ~ in an included directory; ours are skipped for they are policy's own. */
static int read_sudoers_directory(int etc, const char *name, unsigned depth, struct buffer *out)
{
	cleanup_names char **names = NULL;
	size_t count;

	int r = file_list(etc, name, SUDOERS_FILES_MAX, &names, &count);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (size_t i = 0; i < count; i++) {
		char path[512];
		size_t size = strlen(names[i]);
		if (strchr(names[i], '.') || names[i][size - 1] == '~' || strncmp(names[i], OURS, strlen(OURS)) == 0)
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", name, names[i]) >= (int)sizeof(path))
			return -ENAMETOOLONG;
		r = read_sudoers_file(etc, path, depth, out);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Includes are followed only below /etc, which is where every distribution has them; others count as unknown rules. */
static int read_include(int etc, const char *line, unsigned depth, struct buffer *out)
{
	bool directory = strncmp(line + 1, "includedir", 10) == 0;
	const char *path = line + 1 + strlen(directory ? "includedir" : "include");

	path += strspn(path, " \t\"");
	char name[512];
	(void)snprintf(name, sizeof(name), "%s", path);
	name[strcspn(name, " \t\"")] = '\0';
	const char *relative = strncmp(name, "/etc/", 5) == 0 ? name + 5 : name[0] == '/' ? NULL : name;
	if (!relative || depth == SUDOERS_DEPTH_MAX)
		return 0;
	return directory ? read_sudoers_directory(etc, relative, depth + 1, out)
			 : read_sudoers_file(etc, relative, depth + 1, out);
}

int resolve_read_sudoers_text(const char *source, const char *text, size_t size, struct buffer *out)
{
	struct account_table table = {.bytes = (char *)(uintptr_t)text, .size = size};
	struct account_line line;
	size_t offset = 0;
	unsigned number = 0;
	bool continued = false;

	while (account_next_line(&table, &offset, &line)) {
		number++;
		if (!continued)
			buffer_append_format(out, "%s:%u\t", source, number);
		continued = line.size > 0 && line.start[line.size - 1] == '\\';
		for (size_t i = 0; i < line.size - (continued ? 1 : 0); i++)
			buffer_append(out, line.start[i] == '\0' ? "?" : line.start + i, 1);
		if (!continued)
			buffer_append(out, "\n", 1);
	}
	if (continued)
		buffer_append(out, "\n", 1);
	return buffer_status(out);
}

static int read_sudoers_file(int etc, const char *name, unsigned depth, struct buffer *out)
{
	cleanup_free char *text = NULL;
	cleanup_buffer struct buffer lines = {0};
	cleanup_close int directory = -1;
	char parent[512];
	size_t size;

	(void)snprintf(parent, sizeof(parent), "%s", name);
	char *slash = strrchr(parent, '/');
	if (slash)
		*slash = '\0';
	int r = file_open_directory(etc, slash ? parent : ".", &directory);
	if (r == 0)
		r = file_read(directory, slash ? slash + 1 : name, SUDOERS_MAX, &text, &size);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = resolve_read_sudoers_text(name, text, size, &lines);
	if (r < 0)
		return r;
	for (char *line = lines.bytes, *next; line && *line; line = next) {
		next = strchr(line, '\n');
		*next++ = '\0';
		const char *rule = strchr(line, '\t') + 1;
		rule += strspn(rule, " \t");
		if ((*rule == '@' || *rule == '#') && strncmp(rule + 1, "include", 7) == 0) {
			r = read_include(etc, rule, depth, out);
			if (r < 0)
				return r;
			continue;
		}
		buffer_append_format(out, "%s\n", line);
	}
	return buffer_status(out);
}

int resolver_open(int root, struct resolver *ret_resolver)
{
	cleanup_resolver struct resolver resolver = {0};
	cleanup_buffer struct buffer sudoers = {0};
	cleanup_close int etc = -1;

	int r = account_table_read(root, "etc/passwd", &resolver.passwd);
	if (r < 0)
		return r;
	r = account_table_read(root, "etc/group", &resolver.group);
	if (r < 0)
		return r;
	r = account_index_build(&resolver.group); /* asked for each privileged name */
	if (r == 0)
		r = account_members_read(&resolver.group, &resolver.members);
	if (r < 0)
		return r;
	r = login_definitions_read(root, &resolver.definitions);
	if (r < 0)
		return r;
	r = file_open_directory(root, "etc", &etc);
	if (r < 0)
		return r;
	r = read_sudoers_file(etc, "sudoers", 0, &sudoers);
	if (r < 0)
		return r;
	resolver.sudoers = buffer_steal(&sudoers);
	if (!resolver.sudoers)
		return -ENOMEM;
	*ret_resolver = resolver;
	resolver = (struct resolver){0};
	return 0;
}

int resolver_index(struct resolver *resolver)
{
	int r = account_index_build(&resolver->passwd);
	return r < 0 ? r : account_numbers_read(&resolver->passwd, 2, &resolver->uids);
}

void resolver_free(struct resolver *resolver)
{
	account_table_free(&resolver->passwd);
	account_table_free(&resolver->group);
	account_table_free(&resolver->members);
	account_numbers_free(&resolver->uids);
	free(resolver->sudoers);
	*resolver = (struct resolver){0};
}

bool resolve_group_is_privileged(const struct resolver *resolver, const char *name)
{
	struct group_entry named;
	bool privileged = false;

	for (unsigned i = 0; i < ELEMENTS(privileged_groups); i++) {
		if (strcmp(privileged_groups[i], name) == 0)
			return true;
	}
	if (group_find(&resolver->group, name, &named) < 0)
		return false;
	for (unsigned i = 0; i < ELEMENTS(privileged_groups) && !privileged; i++) {
		struct group_entry other;
		if (group_find(&resolver->group, privileged_groups[i], &other) < 0)
			continue;
		privileged = other.gid == named.gid;
		group_free(&other);
	}
	privileged = privileged || named.gid == 0;
	group_free(&named);
	return privileged;
}

/* Facts about one name, as sudoers' user specifications need them. */
struct subject {
	const struct resolver *resolver;
	const char *name;
	uid_t uid;
	const gid_t *groups;
	size_t group_count;
};

static bool in_group_named(const struct subject *subject, const char *group)
{
	struct group_entry entry;

	if (group_find(&subject->resolver->group, group, &entry) < 0)
		return false;
	bool member = group_has_member(&entry, subject->name);
	for (size_t i = 0; i < subject->group_count && !member; i++)
		member = subject->groups[i] == entry.gid;
	group_free(&entry);
	return member;
}

static bool number_is(const char *text, size_t size, uint32_t number)
{
	char decimal[16];
	int length = snprintf(decimal, sizeof(decimal), "%u", number);
	return (size_t)length == size && memcmp(decimal, text, size) == 0;
}

static bool user_list_matches(const struct subject *subject, const char *list, const char *end, unsigned depth);

static bool alias_matches(const struct subject *subject, const char *alias, size_t size, unsigned depth)
{
	/* A name in capitals that no User_Alias defines is an alias sudo itself would refuse: no match. */
	for (const char *line = subject->resolver->sudoers; line && *line;) {
		const char *next = strchr(line, '\n');
		const char *rule = strchr(line, '\t') + 1;
		rule += strspn(rule, " \t");
		if (strncmp(rule, "User_Alias", 10) == 0) {
			/* User_Alias A = x, y : B = z */
			for (const char *at = rule + 10; at < next;) {
				at += strspn(at, " \t:");
				const char *equals = memchr(at, '=', (size_t)(next - at));
				if (!equals)
					break;
				const char *stop = memchr(equals, ':', (size_t)(next - equals));
				stop = stop ? stop : next;
				if (strncmp(at, alias, size) == 0 && strchr(" \t=", at[size]))
					return user_list_matches(subject, equals + 1, stop, depth + 1);
				at = stop;
			}
		}
		line = next + 1;
	}
	return false;
}

static bool user_matches(const struct subject *subject, const char *item, size_t size, unsigned depth)
{
	char name[256];

	if (size == 0 || size >= sizeof(name))
		return false;
	memcpy(name, item, size);
	name[size] = '\0';
	if (strcmp(name, "ALL") == 0 || strcmp(name, subject->name) == 0)
		return true;
	if (name[0] == '#')
		return number_is(item + 1, size - 1, subject->uid);
	if (name[0] == '%' && name[1] == '#') {
		for (size_t i = 0; i < subject->group_count; i++) {
			if (number_is(item + 2, size - 2, subject->groups[i]))
				return true;
		}
		return false;
	}
	if (name[0] == '%')
		return in_group_named(subject, name + 1);
	if (name[0] == '+' || name[0] == '!')
		return name[0] == '+'; /* a netgroup cannot be judged here: strict; a negation never grants */
	if (name[0] >= 'A' && name[0] <= 'Z' && depth < ALIAS_DEPTH_MAX)
		return alias_matches(subject, item, size, depth);
	return false;
}

static bool user_list_matches(const struct subject *subject, const char *list, const char *end, unsigned depth)
{
	for (const char *at = list; at < end;) {
		while (at < end && (strchr(" \t,\"", *at)))
			at++;
		const char *start = at;
		while (at < end && !strchr(" \t,\"", *at))
			at++;
		if (user_matches(subject, start, (size_t)(at - start), depth))
			return true;
	}
	return false;
}

/* The end of a rule's user list: the first blank that no comma stands before or after. */
static const char *user_list_end(const char *rule, const char *end)
{
	for (const char *at = rule; at < end; at++) {
		if (*at != ' ' && *at != '\t')
			continue;
		const char *next = at + strspn(at, " \t");
		if ((at > rule && at[-1] == ',') || (next < end && *next == ','))
			continue;
		return at;
	}
	return end;
}

static bool sudoers_grants(const struct subject *subject, char *reason, size_t reason_size)
{
	for (const char *line = subject->resolver->sudoers; line && *line;) {
		const char *next = strchr(line, '\n');
		const char *tab = memchr(line, '\t', (size_t)(next - line));
		const char *rule = tab + 1 + strspn(tab + 1, " \t");
		bool is_rule = rule < next && !strchr("#@", *rule) && strncmp(rule, "Defaults", 8) != 0 &&
			       !memmem(rule, strcspn(rule, " \t\n"), "_Alias", 6);
		/* `#1000 ALL=…` is a uid, `# text` a comment */
		if (rule < next && *rule == '#' && rule[1] >= '0' && rule[1] <= '9')
			is_rule = true;
		if (is_rule && user_list_matches(subject, rule, user_list_end(rule, next), 0)) {
			(void)snprintf(reason, reason_size, "%.*s", (int)(tab - line), line);
			return true;
		}
		line = next + 1;
	}
	return false;
}

static int judge(const struct resolver *resolver, const struct account *account, struct resolved_account *result)
{
	cleanup_free gid_t *groups = NULL;
	size_t count;

	if (account->uid == 0) {
		result->is_root = true;
		result->privileged = true;
		(void)snprintf(result->reason, sizeof(result->reason), "uid 0");
		return 0;
	}
	int r = account_groups(&resolver->members, account->name, account->gid, &groups, &count);
	if (r < 0)
		return r;
	const struct subject subject = {resolver, account->name, account->uid, groups, count};
	for (unsigned i = 0; i < ELEMENTS(privileged_groups); i++) {
		if (in_group_named(&subject, privileged_groups[i])) {
			result->privileged = true;
			(void)snprintf(result->reason, sizeof(result->reason), "group %s", privileged_groups[i]);
			return 0;
		}
	}
	for (size_t i = 0; i < count; i++) {
		if (groups[i] == 0) {
			result->privileged = true;
			(void)snprintf(result->reason, sizeof(result->reason), "group id 0");
			return 0;
		}
	}
	if (sudoers_grants(&subject, result->reason, sizeof(result->reason)))
		result->privileged = true;
	return 0;
}

int resolve_account(const struct resolver *resolver, const char *name, struct resolved_account *ret_account)
{
	struct resolved_account result = {.is_person = true};
	cleanup_account struct account account = {0};
	cleanup_account_numbers struct account_numbers numbers = {0};
	const struct account_number *first;
	struct account_line line;

	int r = account_find(&resolver->passwd, name, &account);
	if (r == -ENOENT || r == -ENOTUNIQ || r == -EBADMSG) {
		/* Missing: judged as new. Twice or damaged: the account plugin refuses it; be strict here. */
		result.privileged = r != -ENOENT;
		result.exists = false;
		(void)snprintf(result.reason, sizeof(result.reason), r == -ENOENT ? "" : "damaged entry");
		*ret_account = result;
		return 0;
	}
	if (r < 0)
		return r;
	result.exists = true;
	result.uid = account.uid;
	result.is_person = account.uid >= resolver->definitions.uid_min && account.uid <= resolver->definitions.uid_max;
	r = judge(resolver, &account, &result);
	if (r < 0)
		return r;
	if (!resolver->uids.items && account_count_uid(&resolver->passwd, account.uid) > 1)
		r = account_numbers_read(&resolver->passwd, 2, &numbers);
	if (r < 0)
		return r;
	size_t alike = account_numbers_find(numbers.items ? &numbers : &resolver->uids, account.uid, &first);
	r = account_stamp(&resolver->members, &account, alike > 1 ? (unsigned)alike : 1, &result.stamp);
	if (r < 0)
		return r;
	for (size_t i = 0; alike > 1 && i < alike && !result.privileged; i++) {
		cleanup_account struct account other = {0};
		size_t offset = first[i].offset;
		if (!account_next_line(&resolver->passwd, &offset, &line) || account_parse(&line, &other) < 0)
			continue;
		r = judge(resolver, &other, &result);
		if (r < 0)
			return r;
	}
	*ret_account = result;
	return 0;
}
