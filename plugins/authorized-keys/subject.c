/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/subject.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "lib/name_service.h"

static int refuse(struct subject *subject, enum code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse(struct subject *subject, enum code code, const char *format, ...)
{
	va_list arguments;

	subject->code = code;
	va_start(arguments, format);
	(void)vsnprintf(subject->detail, sizeof(subject->detail), format, arguments);
	va_end(arguments);
	return 0;
}

static int refuse_missing(const struct account_table *passwd, bool ask, struct subject *subject)
{
	const char *const names[] = {subject->user};
	bool known = false;
	int r = ask ? name_service_known(passwd, names, 1, &known) : -ETIMEDOUT;

	if (r == -ENOMEM)
		return r;
	subject->name_services_hang = r < 0;
	if (r < 0)
		return refuse(subject, CODE_TIMEOUT, "name services do not answer whether they know %s", subject->user);
	if (known)
		return refuse(
			subject, CODE_NOT_LOCAL, "%s comes from a name service, not from /etc/passwd", subject->user);
	return refuse(subject, CODE_NO_SUCH_USER, "there is no user %s", subject->user);
}

static int resolve(const struct plugin_request *request, const struct account_table *passwd,
	const struct account_table *group, const struct login_definitions *definitions, bool ask,
	struct subject *subject)
{
	int r = account_find(passwd, subject->user, &subject->account);
	if (r == -ENOENT)
		return request->is_host ? refuse_missing(passwd, ask, subject)
					: refuse(subject, CODE_NO_SUCH_USER, "there is no user %s", subject->user);
	if (r == -ENOTUNIQ)
		return refuse(subject, CODE_DUPLICATE_ENTRY, "%s stands more than once in /etc/passwd", subject->user);
	if (r == -EBADMSG)
		return refuse(subject, CODE_IO_ERROR, "the line of %s in /etc/passwd is broken", subject->user);
	if (r < 0)
		return r;
	uid_t uid = subject->account.uid;
	if (uid != 0 && (uid < definitions->uid_min || uid == 65534 || uid == 65535 || uid == UINT32_MAX))
		return refuse(subject, CODE_SYSTEM_ACCOUNT, "uid %u is a system account", (unsigned)uid);
	if (subject->account.home[0] != '/')
		return refuse(subject, CODE_HOME_UNSAFE, "his home is no absolute path");
	return account_groups(group, subject->user, subject->account.gid, &subject->groups, &subject->group_count);
}

int subject_open(const struct plugin_request *request, struct sshd *sshd, struct sharers *sharers,
	const struct account_table *group, const struct login_definitions *definitions, const char *user, bool ask,
	struct subject *ret_subject)
{
	struct subject subject = {.user = user};

	int r = resolve(request, sharers->passwd, group, definitions, ask, &subject);
	if (r == 0 && subject.code == CODE_OK)
		r = locations_find(request, sshd, sharers, &subject.account, &subject.locations);
	if (r < 0) {
		subject_free(&subject);
		return r;
	}
	*ret_subject = subject;
	return 0;
}

void subject_free(struct subject *subject)
{
	for (unsigned i = 0; i < KEY_PLACES_MAX; i++)
		key_view_free(&subject->views[i]);
	locations_free(&subject->locations);
	account_free(&subject->account);
	free(subject->groups);
	free(subject->blobs);
	*subject = (struct subject){0};
}

int subject_add_blob(struct subject *subject, const unsigned char *bytes, size_t size, unsigned *ret_index)
{
	if (subject->blob_count == subject->blob_capacity) {
		unsigned capacity = subject->blob_capacity * 2 + 8;
		struct key_blob *more = reallocarray(subject->blobs, capacity, sizeof(*more));
		if (!more)
			return -ENOMEM;
		subject->blobs = more;
		subject->blob_capacity = capacity;
	}
	subject->blobs[subject->blob_count] = (struct key_blob){bytes, size};
	*ret_index = subject->blob_count++;
	return 0;
}

static bool is_our_own(const char *path)
{
	return strncmp(path, LOCATION_SYSTEM "/", strlen(LOCATION_SYSTEM "/")) == 0 ||
	       strncmp(path, LOCATION_RUNTIME "/", strlen(LOCATION_RUNTIME "/")) == 0;
}

int subject_sync(const struct plugin_request *request, const struct subject *subject, unsigned place)
{
	const gid_t root_group = 0;
	const struct user_identity root = {0, 0, &root_group, 1};
	const struct user_identity user = {
		subject->account.uid, subject->account.gid, subject->groups, subject->group_count};
	const struct locations *locations = &subject->locations;
	bool chosen[KEY_PLACES_MAX] = {false};

	chosen[place] = true;
	const struct key_task task = {.root_path = request->root_path,
		.identity = locations->places[place].home_size > 0 ? user : root,
		.places = locations->places,
		.place_count = locations->count,
		.chosen = chosen,
		.timeout_ms = USER_CHILD_TIMEOUT_MS,
		.sync = true};
	return key_task_run(&task, NULL, NULL);
}

/* The places of one kind, in a child of that identity. */
static int run_kind(const struct plugin_request *request, struct subject *subject, bool below_home,
	const struct key_edit *edits, unsigned edit_count, enum key_outcome *outcomes)
{
	const gid_t root_group = 0;
	const struct user_identity root = {0, 0, &root_group, 1};
	const struct user_identity user = {
		subject->account.uid, subject->account.gid, subject->groups, subject->group_count};
	struct locations *locations = &subject->locations;
	bool chosen[KEY_PLACES_MAX] = {false};

	for (unsigned i = 0; i < locations->count; i++)
		chosen[i] = (locations->places[i].home_size > 0) == below_home;
	bool own = !below_home;
	for (unsigned i = 0; i < locations->count; i++)
		own = own && (!chosen[i] || is_our_own(locations->places[i].path));
	const struct key_task task = {.root_path = request->root_path,
		.identity = below_home ? user : root,
		.places = locations->places,
		.place_count = locations->count,
		.chosen = chosen,
		.edits = edits,
		.edit_count = edit_count,
		.blobs = subject->blobs,
		.blob_count = subject->blob_count,
		.timeout_ms = subject->timeout_ms,
		.sync_later = subject->sync_later && below_home,
		.here = own};
	int r = key_task_run(&task, subject->views, outcomes);
	if (r == 0 || r == -ENOMEM)
		return r;
	for (unsigned i = 0; i < locations->count; i++) {
		struct key_view *view = &subject->views[i];

		if (!chosen[i])
			continue;
		key_view_free(view);
		view->code = r == -ETIMEDOUT ? CODE_TIMEOUT : CODE_IO_ERROR;
		(void)snprintf(view->detail, sizeof(view->detail), "%.120s: %s", locations->places[i].path,
			r == -ETIMEDOUT ? "no answer from there in time" : strerror(-r));
	}
	for (unsigned i = 0; i < edit_count; i++) {
		if (chosen[edits[i].place])
			outcomes[i] = KEY_FAILED;
	}
	return 0;
}

int subject_run(const struct plugin_request *request, struct subject *subject, const struct key_edit *edits,
	unsigned edit_count, enum key_outcome *outcomes)
{
	int r = run_kind(request, subject, true, edits, edit_count, outcomes);
	return r < 0 ? r : run_kind(request, subject, false, edits, edit_count, outcomes);
}
