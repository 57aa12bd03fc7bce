/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/resolve.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/sudo_rules.h"

#define ALIAS_DEPTH_MAX 8u
#define ITEM_MAX 256u /* of a user name or group in a rule */

/* Members of these can become root or read and write what root owns. */
static const char *const privileged_groups[] = {"root", "sudo", "wheel", "admin", "docker", "lxd", "incus-admin",
	"incus", "disk", "shadow", "kmem", "libvirt", "kvm", "podman", "google-sudoers", "adm", "staff"};

static bool is_known(const struct account_line *line)
{
	for (unsigned i = 0; i < ELEMENTS(privileged_groups); i++) {
		const char *name = privileged_groups[i];
		size_t size = strlen(name);
		if (line->size > size && line->start[size] == ':' && memcmp(line->start, name, size) == 0)
			return true;
	}
	return false;
}

/* They are asked for again and again, and the file may have 100,000 lines. */
static int read_known_groups(struct resolver *resolver)
{
	cleanup_buffer struct buffer known = {0};
	bool initials[UCHAR_MAX + 1] = {false};
	struct account_line line;
	size_t offset = 0;

	for (unsigned i = 0; i < ELEMENTS(privileged_groups); i++)
		initials[(unsigned char)*privileged_groups[i]] = true;
	buffer_append(&known, "", 0);
	while (account_next_line(&resolver->group, &offset, &line)) {
		if (line.size == 0 || !initials[(unsigned char)*line.start] || !is_known(&line))
			continue;
		buffer_append(&known, line.start, line.size);
		buffer_append(&known, "\n", 1);
	}
	int r = buffer_status(&known);
	if (r < 0)
		return r;
	resolver->known.size = known.size;
	resolver->known.bytes = buffer_steal(&known);
	return 0;
}

int resolver_open(int root, struct resolver *ret_resolver)
{
	cleanup_resolver struct resolver resolver = {0};
	cleanup_buffer struct buffer sudoers = {0};

	int r = account_table_read(root, "etc/passwd", &resolver.passwd);
	if (r == 0)
		r = account_table_read(root, "etc/group", &resolver.group);
	if (r == -ENOENT || r == -ELOOP || r == -EINVAL)
		return -EOPNOTSUPP;
	if (r < 0)
		return r;
	r = read_known_groups(&resolver);
	if (r == 0)
		r = account_members_read(&resolver.group, &resolver.members);
	if (r < 0)
		return r;
	r = login_definitions_read(root, &resolver.definitions);
	if (r < 0)
		return r;
	r = sudo_rules_read(root, &sudoers);
	if (r < 0)
		return r;
	resolver.sudoers_stamp = sudo_rules_stamp(&sudoers);
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
	if (r == 0)
		r = account_index_build(&resolver->group);
	return r < 0 ? r : account_numbers_read(&resolver->passwd, 2, &resolver->uids);
}

void resolver_free(struct resolver *resolver)
{
	account_table_free(&resolver->passwd);
	account_table_free(&resolver->group);
	account_table_free(&resolver->members);
	account_table_free(&resolver->known);
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
		if (group_find(&resolver->known, privileged_groups[i], &other) < 0)
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
	bool is_new; /* a group of his own name comes with him */
};

static bool in_group_line(const struct subject *subject, const struct account_line *line)
{
	cleanup_group struct group_entry entry = {0};

	if (group_parse(line, &entry) < 0)
		return false;
	bool member = group_has_member(&entry, subject->name);
	for (size_t i = 0; i < subject->group_count && !member; i++)
		member = subject->groups[i] == entry.gid;
	return member;
}

static bool in_group_named(const struct subject *subject, const struct account_table *table, const char *group)
{
	size_t offset = 0, size = strlen(group);
	struct account_line line;
	bool member = false;

	int r = account_find_line(table, group, &line);
	if (r != -ENOTUNIQ)
		return r == 0 && in_group_line(subject, &line);
	/* Every line of that name: a name that stands there twice gives both to its members. */
	while (!member && account_next_line(table, &offset, &line)) {
		if (line.size > size && line.start[size] == ':' && memcmp(line.start, group, size) == 0)
			member = in_group_line(subject, &line);
	}
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

static bool user_matches(const struct subject *subject, const char *name, unsigned depth)
{
	size_t size = strlen(name);

	if (size == 0)
		return false;
	if (strcmp(name, "ALL") == 0 || strcmp(name, subject->name) == 0)
		return true;
	if (name[0] == '#')
		return number_is(name + 1, size - 1, subject->uid);
	if (name[0] == '%' && name[1] == '#') {
		for (size_t i = 0; i < subject->group_count; i++) {
			if (number_is(name + 2, size - 2, subject->groups[i]))
				return true;
		}
		return false;
	}
	if (name[0] == '%')
		return (subject->is_new && strcmp(name + 1, subject->name) == 0) ||
		       in_group_named(subject, &subject->resolver->group, name + 1);
	if (name[0] == '+')
		return true; /* a netgroup cannot be judged here: strict */
	if (name[0] >= 'A' && name[0] <= 'Z' && depth < ALIAS_DEPTH_MAX)
		return alias_matches(subject, name, size, depth);
	return false;
}

/* One name of a list, without quotes and backslashes, behind any number of `!`; advances over it. */
static void read_item(const char **at, const char *end, char name[ITEM_MAX], bool *ret_negated)
{
	size_t size = 0;
	bool quoted = false;

	*ret_negated = false;
	for (; *at < end && strchr(" \t!", **at); (*at)++)
		*ret_negated = *ret_negated != (**at == '!');
	for (; *at < end && (quoted || !strchr(" \t,", **at)); (*at)++) {
		if (**at == '"') {
			quoted = !quoted;
			continue;
		}
		if (**at == '\\' && *at + 1 < end)
			(*at)++;
		if (size + 1 < ITEM_MAX)
			name[size++] = **at;
	}
	name[size] = '\0';
}

/* The list ends behind the first name that no comma follows. A negation never grants. */
static bool user_list_matches(const struct subject *subject, const char *list, const char *end, unsigned depth)
{
	char name[ITEM_MAX];
	bool negated;

	for (const char *at = list; at < end; at++) {
		read_item(&at, end, name, &negated);
		if (!negated && user_matches(subject, name, depth))
			return true;
		at += at < end ? strspn(at, " \t") : 0;
		if (at >= end || *at != ',')
			break;
	}
	return false;
}

/* The first rule that is the subject's; not counting those that are also the other's, who may be NULL. */
static bool sudoers_grants(const struct subject *subject, const struct subject *other, char *reason, size_t reason_size)
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
		if (is_rule && user_list_matches(subject, rule, next, 0) &&
			!(other && user_list_matches(other, rule, next, 0))) {
			(void)snprintf(reason, reason_size, "%.*s", (int)(tab - line), line);
			return true;
		}
		line = next + 1;
	}
	return false;
}

bool resolve_group_has_sudo(const struct resolver *resolver, const char *name)
{
	struct group_entry named;
	char reason[96];

	if (group_find(&resolver->group, name, &named) < 0)
		return false;
	const struct subject nobody = {resolver, "", UINT32_MAX, NULL, 0, false};
	const struct subject member = {resolver, "", UINT32_MAX, &named.gid, 1, false};
	bool has = sudoers_grants(&member, &nobody, reason, sizeof(reason));
	group_free(&named);
	return has;
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
	const struct subject subject = {resolver, account->name, account->uid, groups, count, false};
	for (unsigned i = 0; i < ELEMENTS(privileged_groups); i++) {
		if (in_group_named(&subject, &resolver->known, privileged_groups[i])) {
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
	if (sudoers_grants(&subject, NULL, result->reason, sizeof(result->reason)))
		result->privileged = true;
	return 0;
}

/*
 * No groups but one of his own name, which as a new one gets the uid's number where that is free: what the rules, and
 * that group, give to whoever has the name, or the uid that he is to get.
 */
static void judge_new(
	const struct resolver *resolver, const char *name, int64_t named_uid, struct resolved_account *result)
{
	cleanup_group struct group_entry own = {0};
	bool stands = group_find(&resolver->group, name, &own) == 0, named = named_uid >= 0 && named_uid < UINT32_MAX;
	const uid_t uid = named ? (uid_t)named_uid : UINT32_MAX;
	const gid_t gid = stands ? own.gid : uid;
	const struct subject subject = {resolver, name, uid, &gid, stands || named ? 1 : 0, true};

	result->stamp = resolver->sudoers_stamp;
	if (resolve_group_is_privileged(resolver, name)) {
		result->privileged = true;
		(void)snprintf(result->reason, sizeof(result->reason), "group %s", name);
		return;
	}
	result->privileged = sudoers_grants(&subject, NULL, result->reason, sizeof(result->reason));
}

int resolve_account(
	const struct resolver *resolver, const char *name, int64_t named_uid, struct resolved_account *ret_account)
{
	struct resolved_account result = {.is_person = true};
	cleanup_account struct account account = {0};
	struct account_line line;

	int r = account_find(&resolver->passwd, name, &account);
	if (r == -ENOENT || r == -ENOTUNIQ || r == -EBADMSG) {
		/* Missing: judged as new. Twice or damaged: the account plugin refuses it; be strict here. */
		result.privileged = true;
		result.exists = false;
		(void)snprintf(result.reason, sizeof(result.reason), "damaged entry");
		if (r == -ENOENT)
			judge_new(resolver, name, named_uid, &result);
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
	struct account_alike alike = {
		.table = &resolver->passwd, .numbers = &resolver->uids, .field = 2, .number = account.uid};
	size_t count = account_count_alike(alike);
	r = account_stamp(&resolver->members, &account, (unsigned)count, resolver->sudoers_stamp, &result.stamp);
	if (r < 0)
		return r;
	while (count > 1 && !result.privileged && account_next_alike(&alike, &line)) {
		cleanup_account struct account other = {0};
		if (account_parse(&line, &other) < 0)
			continue;
		r = judge(resolver, &other, &result);
		if (r < 0)
			return r;
	}
	*ret_account = result;
	return 0;
}
