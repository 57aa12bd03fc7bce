/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/subject.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "lib/name_service.h"
#include "plugins/authorized-keys/key_lines.h"
#include "plugins/authorized-keys/key_wire.h"

#define OUTPUT_MAX (KEY_PLACES_MAX * (KEY_FILE_MAX + 4096u) + KEY_TASK_LINES_MAX * 8u)

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
	if (!json_is_utf8(subject->account.home))
		return refuse(subject, CODE_HOME_UNSAFE, "the name of his home is not in UTF-8");
	return account_groups(group, subject->user, subject->account.gid, &subject->groups, &subject->group_count);
}

int subject_open(const struct plugin_request *request, struct sshd *sshd, struct sharers *sharers,
	const struct account_table *group, const struct login_definitions *definitions, bool ask,
	struct subject *subject)
{
	int r = resolve(request, sharers->passwd, group, definitions, ask, subject);
	if (r == 0 && subject->code == CODE_OK)
		r = locations_find(request, sshd, sharers, &subject->account, &subject->locations);
	return r;
}

void subject_free(struct subject *subject)
{
	for (unsigned i = 0; i < subject->view_count; i++)
		key_view_free(&subject->views[i]);
	free(subject->views);
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

/* The places of one kind, worked on under that identity. */
static struct key_task make_task(
	const struct plugin_request *request, const struct subject *subject, bool below_home, const bool *chosen)
{
	static const gid_t root_group = 0;
	const struct user_identity root = {0, 0, &root_group, 1};
	const struct user_identity user = {
		subject->account.uid, subject->account.gid, subject->groups, subject->group_count};

	return (struct key_task){.root_path = request->root_path,
		.identity = below_home ? user : root,
		.places = subject->locations.places,
		.place_count = subject->locations.count,
		.chosen = chosen,
		.blobs = subject->blobs,
		.blob_count = subject->blob_count};
}

static bool is_empty(const struct key_task *task)
{
	for (unsigned i = 0; i < task->place_count; i++) {
		if (task->chosen[i])
			return false;
	}
	return true;
}

static int start(const struct plugin_request *request, const struct key_task *task, unsigned timeout_ms,
	struct user_spawned *ret_child)
{
	cleanup_buffer struct buffer bytes = {0};
	const struct user_task user_task = {.name = task->sync             ? "keys:sync"
						    : task->edit_count > 0 ? "keys:edit"
									   : "keys:look",
		.identity = task->identity,
		.timeout_ms = timeout_ms,
		.bytes = &bytes,
		.root = -1};

	key_wire_put_task(&bytes, task);
	int r = buffer_status(&bytes);
	return r < 0 ? r : user_spawner_start(&request->spawner, &user_task, ret_child);
}

static int finish(
	const struct key_task *task, struct user_spawned *child, struct key_view *views, enum key_outcome *outcomes)
{
	cleanup_buffer struct buffer output = {0};

	int r = user_spawned_finish(child, OUTPUT_MAX, &output);
	if (r == 0)
		r = buffer_status(&output);
	return r < 0 || task->sync ? r : key_wire_take_views(task, &output, views, outcomes);
}

/* No child: root's own places, where nothing of a user can hang. */
static int run_here(const struct key_task *task, struct key_view *views, enum key_outcome *outcomes)
{
	cleanup_buffer struct buffer output = {0};

	int r = key_task_work(task, &output);
	if (r == 0)
		r = buffer_status(&output);
	return r < 0 ? r : key_wire_take_views(task, &output, views, outcomes);
}

int subject_sync(const struct plugin_request *request, const struct subject *subject, unsigned place)
{
	bool chosen[KEY_PLACES_MAX] = {false};
	struct user_spawned child;

	chosen[place] = true;
	struct key_task task = make_task(request, subject, subject->locations.places[place].home_size > 0, chosen);
	task.sync = true;
	int r = start(request, &task, USER_CHILD_TIMEOUT_MS, &child);
	return r < 0 ? r : finish(&task, &child, NULL, NULL);
}

/* A child that failed as a whole says nothing of its places. */
static int take_failure(struct subject *subject, const struct key_task *task, int error, enum key_outcome *outcomes)
{
	if (error == 0 || error == -ENOMEM)
		return error;
	/* A child that could not be made says nothing of the file's own rights; what passes is tried again. */
	enum code code = error == -EPERM || error == -EACCES ? CODE_IO_ERROR : code_from_errno(-error);
	if (error == -ECHILD)
		code = CODE_BUSY; /* its user, whose it is, or the kernel ended it: that is no last word */
	for (unsigned i = 0; i < task->place_count; i++) {
		struct key_view *view = &subject->views[i];

		if (!task->chosen[i])
			continue;
		key_view_free(view);
		view->code = code;
		(void)snprintf(view->detail, sizeof(view->detail), "%.120s: %s", task->places[i].path,
			error == -ETIMEDOUT ? "no answer from there in time"
			: error == -ECHILD  ? "what worked there was ended"
					    : strerror(-error));
	}
	for (unsigned i = 0; i < task->edit_count; i++) {
		if (task->chosen[task->edits[i].place])
			outcomes[i] = KEY_FAILED;
	}
	return 0;
}

/* A plan may name a place that was not one when the subject was opened. */
static int grow_views(struct subject *subject)
{
	unsigned count = subject->locations.count;
	struct key_view *views = reallocarray(subject->views, (size_t)count + 1, sizeof(*views));

	if (!views)
		return -ENOMEM;
	subject->views = views;
	for (; subject->view_count < count; subject->view_count++)
		views[subject->view_count] = (struct key_view){0};
	return 0;
}

void subject_start(const struct plugin_request *request, struct subject *subject, const struct key_edit *edits,
	unsigned edit_count)
{
	int r = grow_views(subject);
	for (unsigned i = 0; i < subject->locations.count; i++)
		subject->chosen[i] = subject->locations.places[i].home_size > 0;
	subject->task = make_task(request, subject, true, subject->chosen);
	subject->task.edits = edits;
	subject->task.edit_count = edit_count;
	subject->task.sync_later = subject->sync_later;
	subject->start_error = r < 0 || is_empty(&subject->task)
				       ? r
				       : start(request, &subject->task, subject->timeout_ms, &subject->child);
}

int subject_finish(const struct plugin_request *request, struct subject *subject, enum key_outcome *outcomes)
{
	const struct locations *locations = &subject->locations;
	bool chosen[KEY_PLACES_MAX] = {false}, own = true;
	struct user_spawned child;

	int r = subject->start_error;
	if (r == 0 && !is_empty(&subject->task))
		r = finish(&subject->task, &subject->child, subject->views, outcomes);
	r = take_failure(subject, &subject->task, r, outcomes);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < locations->count; i++) {
		chosen[i] = locations->places[i].home_size == 0;
		own = own && (!chosen[i] || is_our_own(locations->places[i].path));
	}
	struct key_task task = make_task(request, subject, false, chosen);
	task.edits = subject->task.edits;
	task.edit_count = subject->task.edit_count;
	if (is_empty(&task))
		return 0;
	if (own) {
		r = run_here(&task, subject->views, outcomes);
	} else {
		r = start(request, &task, subject->timeout_ms, &child);
		if (r == 0)
			r = finish(&task, &child, subject->views, outcomes);
	}
	return take_failure(subject, &task, r, outcomes);
}
