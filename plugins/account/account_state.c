/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/account_state.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/base64.h"
#include "lib/json.h"
#include "plugins/account/home.h"
#include "plugins/account/identifiers.h"
#include "plugins/account/sudoers.h"

#define GROUP_PREFIX "group."

void cleanup_wiped_text(char **text)
{
	if (*text)
		explicit_bzero(*text, strlen(*text));
	free(*text);
}

static const struct {
	const char *name;
	enum database_file file;
	unsigned fields, index;
} field_facets[] = {
	{"gecos", DATABASE_PASSWD, PASSWD_FIELDS, 4},
	{"home", DATABASE_PASSWD, PASSWD_FIELDS, 5},
	{"shell", DATABASE_PASSWD, PASSWD_FIELDS, 6},
	{"changed", DATABASE_SHADOW, SHADOW_FIELDS, 2},
	{"expire", DATABASE_SHADOW, SHADOW_FIELDS, 7},
};

int account_state_parse_ids(const char *text, uid_t *ret_uid, gid_t *ret_gid)
{
	uint64_t numbers[2] = {0, 0};

	for (unsigned i = 0; i < 2; i++) {
		const char *start = text;
		for (; *text >= '0' && *text <= '9' && numbers[i] <= UINT32_MAX; text++)
			numbers[i] = numbers[i] * 10 + (uint64_t)(*text - '0');
		if (text == start || numbers[i] > UINT32_MAX || *text != (i == 0 ? ':' : '\0'))
			return -EBADMSG;
		text += i == 0 ? 1 : 0;
	}
	*ret_uid = (uid_t)numbers[0];
	*ret_gid = (gid_t)numbers[1];
	return 0;
}

int64_t account_state_day(int64_t time)
{
	/* shadow counts whole days and refuses from the start of the named one: the first midnight that is not before
	 */
	return (time + 86399) / 86400;
}

static int duplicate(const char *text, size_t size, char **ret_text)
{
	char *copy = strndup(text, size);
	if (!copy)
		return -ENOMEM;
	*ret_text = copy;
	return 0;
}

/*
 * A column as text, for plans are JSON. What is no UTF-8 stands as ':' and its base64, for no column holds a colon; the
 * ! of a lock stands before it. An editor, or the user's chfn, may have put it there, which must not keep him from
 * being given another.
 */
static int read_column(const struct account_line *field, char **ret_text)
{
	cleanup_buffer struct buffer encoded = {0};
	cleanup_wiped char *text = NULL;

	int r = duplicate(field->start, field->size, &text);
	if (r < 0 || json_is_utf8(text)) {
		if (r == 0)
			*ret_text = steal_pointer(&text);
		return r;
	}
	size_t locked = strspn(text, "!");
	buffer_append(&encoded, text, locked);
	buffer_append_text(&encoded, ":");
	base64_append(&encoded, text + locked, strlen(text + locked));
	r = buffer_status(&encoded);
	if (r == 0)
		*ret_text = buffer_steal(&encoded);
	return r;
}

static int read_field(struct batch *batch, enum database_file file, const char *user, unsigned fields, unsigned index,
	char **ret_text)
{
	struct account_line field = {"", 0};
	int r = table_edit_field(&batch->database.files[file], user, fields, index, &field);
	if (r == -ENOENT)
		r = 0;
	return r < 0 ? r : read_column(&field, ret_text);
}

static int read_account(struct batch *batch, const char *user, char **ret_text)
{
	cleanup_account struct account account = {0};
	char text[32];

	int r = account_find(&batch->database.files[DATABASE_PASSWD].table, user, &account);
	if (r == -ENOENT)
		return duplicate("", 0, ret_text);
	if (r < 0)
		return r;
	(void)snprintf(text, sizeof(text), "%u:%u", (unsigned)account.uid, (unsigned)account.gid);
	return duplicate(text, strlen(text), ret_text);
}

static int read_hash(struct batch *batch, const char *user, char **ret_text)
{
	struct account_line field;

	int r = table_edit_field(&batch->database.files[DATABASE_PASSWD], user, PASSWD_FIELDS, 1, &field);
	if (r < 0 && r != -ENOENT)
		return r;
	/* What stands in passwd itself counts instead of shadow's, as it does for pam_unix; empty lets anybody in. */
	if (r == 0 && (field.size != 1 || *field.start != 'x'))
		return read_column(&field, ret_text);
	return read_field(batch, DATABASE_SHADOW, user, SHADOW_FIELDS, 1, ret_text);
}

/* "in", "out", or "part" where a crash or a full disk came between group and gshadow. */
static int read_member(struct batch *batch, const char *user, const char *group, char **ret_text)
{
	bool present, shadowed;

	int r = table_edit_has_member(&batch->database.files[DATABASE_GROUP], group, GROUP_FIELDS, 3, user, &present);
	if (r < 0)
		return r;
	shadowed = present;
	if (batch->database.present[DATABASE_GSHADOW]) {
		r = table_edit_has_member(
			&batch->database.files[DATABASE_GSHADOW], group, GROUP_FIELDS, 3, user, &shadowed);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	const char *word = present != shadowed ? ACCOUNT_STATE_PART : present ? "in" : "out";
	return duplicate(word, strlen(word), ret_text);
}

int account_state_read(struct batch *batch, const char *user, const char *facet, char **ret_text)
{
	const struct ledger_entry *entry = batch_entry(batch, user);
	char word[SUDOERS_WORD_MAX];
	int r;

	for (unsigned i = 0; i < ELEMENTS(field_facets); i++) {
		if (strcmp(field_facets[i].name, facet) == 0)
			return read_field(batch, field_facets[i].file, user, field_facets[i].fields,
				field_facets[i].index, ret_text);
	}
	if (strcmp(facet, "account") == 0)
		return read_account(batch, user, ret_text);
	if (strcmp(facet, "hash") == 0)
		return read_hash(batch, user, ret_text);
	if (strncmp(facet, GROUP_PREFIX, strlen(GROUP_PREFIX)) == 0)
		return read_member(batch, user, facet + strlen(GROUP_PREFIX), ret_text);
	if (strcmp(facet, "sudo") == 0) {
		r = sudoers_read(batch->request->root, user, word);
		return r < 0 ? r : duplicate(word, strlen(word), ret_text);
	}
	if (strcmp(facet, "locked") == 0)
		return duplicate(entry && entry->locked ? "yes" : "no", 3, ret_text);
	if (strcmp(facet, "expire_before") == 0)
		return duplicate(entry ? entry->expire_before : "", sizeof(entry->expire_before), ret_text);
	return -EBADMSG;
}

int account_state_change(
	struct batch *batch, const char *user, struct facets *facets, const char *facet, const char *after)
{
	cleanup_wiped char *before = NULL;

	int r = account_state_read(batch, user, facet, &before);
	return r < 0 ? r : facets_add(facets, facet, before, after);
}

static void days_text(int64_t days, char ret_text[24])
{
	ret_text[0] = '\0';
	if (days >= 0)
		(void)snprintf(ret_text, 24, "%" PRIi64, days);
}

static int shadow_line(struct batch *batch, const char *user, const char *hash, const char *expire)
{
	const struct account_defaults *defaults = &batch->defaults;
	struct table_edit *shadow = &batch->database.files[DATABASE_SHADOW];
	char minimum[24], maximum[24], warn[24];
	cleanup_wiped char *line = NULL;

	days_text(defaults->minimum_age, minimum);
	days_text(defaults->maximum_age, maximum);
	days_text(defaults->warn, warn);
	if (asprintf(&line, "%s:%s:%" PRIi64 ":%s:%s:%s:%s:%s:", user, hash, batch->request->time / 86400, minimum,
		    maximum, warn, defaults->inactive, expire) < 0) {
		line = NULL;
		return -ENOMEM;
	}
	/* A line without an account is what a crash, or another tool's, left behind. */
	int r = table_edit_remove_line(shadow, user);
	return r < 0 && r != -ENOENT ? r : table_edit_add_line(shadow, line);
}

static int need_shadow_line(struct batch *batch, const char *user)
{
	struct account_line field;
	int r = table_edit_field(&batch->database.files[DATABASE_SHADOW], user, SHADOW_FIELDS, 1, &field);
	return r == -ENOENT ? shadow_line(batch, user, "*", "") : r;
}

static int write_hash(struct batch *batch, const char *user, const char *hash)
{
	int r = need_shadow_line(batch, user);
	if (r == 0)
		r = table_edit_set_field(&batch->database.files[DATABASE_SHADOW], user, SHADOW_FIELDS, 1, hash);
	if (r == 0)
		r = table_edit_set_field(&batch->database.files[DATABASE_PASSWD], user, PASSWD_FIELDS, 1, "x");
	return r;
}

static int write_member(struct batch *batch, const char *user, const char *group, bool present)
{
	int r = table_edit_set_member(&batch->database.files[DATABASE_GROUP], group, GROUP_FIELDS, 3, user, present);
	if (r < 0 || !batch->database.present[DATABASE_GSHADOW])
		return r;
	r = table_edit_set_member(&batch->database.files[DATABASE_GSHADOW], group, GROUP_FIELDS, 3, user, present);
	return r == -ENOENT ? 0 : r;
}

/* What read_column() made text of, as it was; NULL when it is text. */
static int write_column(const char *text, char **ret_column)
{
	cleanup_buffer struct buffer column = {0};
	cleanup_free unsigned char *bytes = NULL;
	size_t size, locked = strspn(text, "!");

	if (text[locked] != ':')
		return 0;
	int r = base64_decode(text + locked + 1, strlen(text + locked + 1), &bytes, &size);
	if (r < 0)
		return r;
	buffer_append(&column, text, locked);
	buffer_append(&column, bytes, size);
	r = buffer_status(&column);
	if (r == 0)
		*ret_column = buffer_steal(&column);
	return r;
}

int account_state_write(struct batch *batch, const char *user, const char *facet, const char *text)
{
	cleanup_wiped char *column = NULL;
	int r = write_column(text, &column);

	if (r < 0)
		return r;
	text = column ? column : text;
	for (unsigned i = 0; i < ELEMENTS(field_facets); i++) {
		if (strcmp(field_facets[i].name, facet) != 0)
			continue;
		r = field_facets[i].file == DATABASE_SHADOW ? need_shadow_line(batch, user) : 0;
		return r < 0 ? r
			     : table_edit_set_field(&batch->database.files[field_facets[i].file], user,
				       field_facets[i].fields, field_facets[i].index, text);
	}
	if (strcmp(facet, "hash") == 0)
		return write_hash(batch, user, text);
	if (strncmp(facet, GROUP_PREFIX, strlen(GROUP_PREFIX)) == 0)
		return write_member(batch, user, facet + strlen(GROUP_PREFIX), strcmp(text, "in") == 0);
	if (strcmp(facet, "locked") == 0 || strcmp(facet, "expire_before") == 0)
		return 0; /* the ledger's own; account_state_note */
	return -EBADMSG;
}

static int add_ranges(struct batch *batch, const char *user)
{
	const struct account_defaults *defaults = &batch->defaults;
	const struct {
		enum database_file file;
		int64_t min, max, count;
	} tables[] = {
		{DATABASE_SUBUID, defaults->subuid_min, defaults->subuid_max, defaults->subuid_count},
		{DATABASE_SUBGID, defaults->subgid_min, defaults->subgid_max, defaults->subgid_count},
	};
	for (unsigned i = 0; i < ELEMENTS(tables); i++) {
		struct table_edit *edit = &batch->database.files[tables[i].file];
		struct account_line line;
		char text[128];
		int64_t start;

		if (!batch->database.present[tables[i].file] || tables[i].count <= 0)
			continue;
		int r = account_find_line(&edit->table, user, &line);
		if (r == 0 || r == -ENOTUNIQ)
			continue;
		r = identifiers_choose_range(
			&batch->database, tables[i].file, tables[i].min, tables[i].max, tables[i].count, &start);
		if (r == -ENOSPC)
			continue; /* no containers for him; nothing else needs it */
		if (r < 0)
			return r;
		(void)snprintf(text, sizeof(text), "%s:%" PRIi64 ":%" PRIi64, user, start, tables[i].count);
		r = identifiers_add_line(&batch->database, tables[i].file, text, start, tables[i].count);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Each file for itself: a crash may have left the group without its shadow. */
static int add_group(struct batch *batch, const char *user, gid_t gid)
{
	cleanup_group struct group_entry group = {0};
	struct account_line line;
	char text[128];

	int r = group_find(&batch->database.files[DATABASE_GROUP].table, user, &group);
	if (r == 0 && group.gid != gid)
		return 0; /* the plan chose another group, which is there */
	if (r == -ENOENT && identifiers_gid_in_use(&batch->database, gid))
		return 0;
	if (r == -ENOENT) {
		(void)snprintf(text, sizeof(text), "%s:x:%u:", user, (unsigned)gid);
		r = identifiers_add_line(&batch->database, DATABASE_GROUP, text, gid, 0);
	}
	if (r < 0 || !batch->database.present[DATABASE_GSHADOW])
		return r;
	r = account_find_line(&batch->database.files[DATABASE_GSHADOW].table, user, &line);
	if (r != -ENOENT)
		return r;
	(void)snprintf(text, sizeof(text), "%s:!::", user);
	return table_edit_add_line(&batch->database.files[DATABASE_GSHADOW], text);
}

int account_state_create(
	struct batch *batch, const char *user, const struct facets *facets, struct plugin_result *result)
{
	const char *home = facets_after(facets, "home", "/nonexistent");
	cleanup_free char *line = NULL;
	enum home_state state;
	uid_t uid;
	gid_t gid;

	int r = account_state_parse_ids(facets_after(facets, "account", ""), &uid, &gid);
	if (r < 0)
		return r;
	/* Checked before anything is made: a colon in one of them would be another field, an account of its choice. */
	for (unsigned i = 0; i < facets->count; i++) {
		if (strcmp(facets->items[i].name, "account") != 0 && !table_edit_is_field(facets->items[i].after))
			return -EINVAL;
	}
	if (identifiers_uid_in_use(&batch->database, uid)) {
		(void)plugin_set(result, CODE_UID_TAKEN, "uid %u belongs to another account", (unsigned)uid);
		return -EEXIST;
	}
	if (batch->applying) {
		r = home_build(batch->request->root, home, &batch->skeleton, uid, gid, batch->defaults.home_mode,
			batch->sync_once ? &batch->homes : NULL, &state);
		if (r < 0)
			return r;
		if (state == HOME_FOREIGN || state == HOME_NOT_SAFE) {
			(void)plugin_set(
				result, state == HOME_FOREIGN ? CODE_HOME_EXISTS : CODE_HOME_UNSAFE, "%s", home);
			return -EEXIST;
		}
		r = state == HOME_MISSING ? new_homes_add(&batch->new_homes, user, home, uid) : 0;
		if (r < 0)
			return r;
	}
	r = add_group(batch, user, gid);
	if (r == 0)
		r = add_ranges(batch, user);
	/* `*`, not `!`: where UsePAM is no, sshd refuses keys too for a hash that starts with '!'. */
	if (r == 0)
		r = shadow_line(batch, user, "*", facets_after(facets, "expire", batch->defaults.expire));
	if (r < 0)
		return r;
	if (asprintf(&line, "%s:x:%u:%u:%s:%s:%s", user, (unsigned)uid, (unsigned)gid,
		    facets_after(facets, "gecos", ""), home,
		    facets_after(facets, "shell", batch->defaults.shell)) < 0) {
		line = NULL;
		return -ENOMEM;
	}
	return identifiers_add_line(&batch->database, DATABASE_PASSWD, line, uid, 0);
}

static bool is_primary_group(const struct batch *batch, gid_t gid)
{
	struct account_line line;
	size_t offset = 0;

	return account_next_number(&batch->database.files[DATABASE_PASSWD].table, 3, gid, &offset, &line);
}

static int remove_own_group(struct batch *batch, const char *user, gid_t gid)
{
	cleanup_group struct group_entry group = {0};

	int r = group_find(&batch->database.files[DATABASE_GROUP].table, user, &group);
	if (r < 0 || group.gid != gid || *group.members != '\0' || is_primary_group(batch, gid))
		return r == -ENOMEM ? r : 0;
	r = table_edit_remove_line(&batch->database.files[DATABASE_GROUP], user);
	if (r < 0 || !batch->database.present[DATABASE_GSHADOW])
		return r;
	r = table_edit_remove_line(&batch->database.files[DATABASE_GSHADOW], user);
	return r == -ENOENT || r == -ENOTUNIQ ? 0 : r;
}

int account_state_remove(struct batch *batch, const char *user, gid_t gid)
{
	struct database *database = &batch->database;

	/* Lines may be missing: passwd goes first, and a crash leaves the others to the redo. */
	int r = table_edit_remove_line(&database->files[DATABASE_PASSWD], user);
	if (r == 0 || r == -ENOENT)
		r = table_edit_remove_line(&database->files[DATABASE_SHADOW], user);
	if (r == 0 || r == -ENOENT)
		r = table_edit_remove_member(&database->files[DATABASE_GROUP], GROUP_FIELDS, 3, user);
	for (unsigned index = 2; r == 0 && database->present[DATABASE_GSHADOW] && index < GROUP_FIELDS; index++)
		r = table_edit_remove_member(&database->files[DATABASE_GSHADOW], GROUP_FIELDS, index, user);
	if (r == 0)
		r = remove_own_group(batch, user, gid);
	for (unsigned i = 0; r == 0 && i < 2; i++) {
		enum database_file file = i == 0 ? DATABASE_SUBUID : DATABASE_SUBGID;
		/* One line is the rule; several are legal and belong to somebody who added them. */
		if (database->present[file])
			r = table_edit_remove_line(&database->files[file], user);
		if (r == -ENOENT || r == -ENOTUNIQ)
			r = 0;
	}
	batch->removing = true;
	return r;
}

bool account_state_has_rest(const struct batch *batch, const char *user)
{
	static const enum database_file own[] = {DATABASE_SHADOW, DATABASE_SUBUID, DATABASE_SUBGID};
	static const enum database_file lists[] = {DATABASE_GROUP, DATABASE_GSHADOW};
	struct account_line line;

	for (unsigned i = 0; i < ELEMENTS(own); i++) {
		if (account_find_line(&batch->database.files[own[i]].table, user, &line) == 0)
			return true;
	}
	for (unsigned i = 0; i < ELEMENTS(lists); i++) {
		const struct account_table *table = &batch->database.files[lists[i]].table;
		size_t offset = 0;

		while (account_next_with(table, user, strlen(user), &offset, &line)) {
			cleanup_group struct group_entry group = {0};
			const char *last = memrchr(line.start, ':', line.size);

			if (!last)
				continue;
			cleanup_free char *members = strndup(last + 1, line.size - (size_t)(last + 1 - line.start));
			group.members = members;
			if (!members || group_has_member(&group, user))
				return true;
		}
	}
	return false;
}

/* Most lines are somebody's whose home is elsewhere: no copy of them is made. */
bool account_state_lives_in(const struct account_line *line, const char *home)
{
	const char *at = line->start, *end = line->start + line->size;

	for (unsigned i = 0; i < 5; i++) {
		at = memchr(at, ':', (size_t)(end - at));
		if (!at)
			return false;
		at++;
	}
	const char *colon = memchr(at, ':', (size_t)(end - at));
	return home_lies_in(at, colon ? colon : end, home);
}

/* Whoever made the account: its uid stays known, for its files may lie about. */
static int note_removal(struct ledger *ledger, const char *user, const struct facet *facet)
{
	struct ledger_entry *entry = ledger_find(ledger, user), *gone = ledger_find_gone(ledger, user);
	uid_t uid;
	gid_t gid;

	int r = account_state_parse_ids(facet->before, &uid, &gid);
	/* A redo notes it again. */
	if (r < 0 || (!entry && gone && gone->uid == uid))
		return r;
	r = ledger_get(ledger, user, uid, &entry);
	if (r < 0)
		return r;
	entry->gone = true;
	ledger->changed = true;
	return 0;
}

/* So that a later try knows what is left of it: passwd does not any more. */
static int note_home(struct ledger *ledger, const char *user, const struct facet *facet)
{
	struct ledger_entry *gone = ledger_find_gone(ledger, user);
	const char *colon = strchr(facet->before, ':');

	if (!gone || !colon || (gone->home && strcmp(gone->home, colon + 1) == 0))
		return 0;
	char *home = strdup(colon + 1);
	if (!home)
		return -ENOMEM;
	free(gone->home);
	gone->home = home;
	ledger->changed = true;
	return 0;
}

int account_state_note(struct batch *batch, const char *user, const struct facet *facet)
{
	struct ledger *ledger = &batch->ledger;
	cleanup_wiped char *ids = NULL;
	struct ledger_entry *entry;
	bool creation = strcmp(facet->name, "account") == 0;
	uid_t uid = 0;
	gid_t gid;

	if (strcmp(facet->name, "home_directory") == 0)
		return note_home(ledger, user, facet);
	if (!creation && strncmp(facet->name, GROUP_PREFIX, strlen(GROUP_PREFIX)) != 0 &&
		strcmp(facet->name, "sudo") != 0 && strcmp(facet->name, "locked") != 0 &&
		strcmp(facet->name, "expire_before") != 0)
		return 0;
	if (creation && *facet->after == '\0')
		return note_removal(ledger, user, facet);
	int r = account_state_read(batch, user, "account", &ids);
	if (r == 0)
		r = account_state_parse_ids(ids, &uid, &gid);
	if (r == 0)
		r = ledger_get(ledger, user, uid, &entry);
	if (r < 0)
		return r == -EBADMSG ? 0 : r;
	ledger->changed = true;
	if (creation) {
		return ledger_set_created(ledger, entry, uid);
	} else if (strcmp(facet->name, "sudo") == 0) {
		(void)snprintf(entry->sudo, sizeof(entry->sudo), "%s", facet->after);
	} else if (strcmp(facet->name, "locked") == 0) {
		entry->locked = strcmp(facet->after, "yes") == 0;
		if (!entry->locked)
			entry->expire_before[0] = '\0';
	} else if (strcmp(facet->name, "expire_before") == 0) {
		(void)snprintf(entry->expire_before, sizeof(entry->expire_before), "%s", facet->after);
	} else {
		return ledger_set_group(
			ledger, entry, facet->name + strlen(GROUP_PREFIX), strcmp(facet->after, "in") == 0);
	}
	return 0;
}
