/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/batch.h"

#include <errno.h>
#include <string.h>

#include "lib/account_index.h"
#include "lib/file.h"
#include "lib/log.h"
#include "plugins/authorized-keys/sessions.h"
#include "plugins/authorized-keys/sweep.h"

#define INDEX_FROM 4u             /* commands; for fewer reading the lines is as fast */
#define HOMES_TIMEOUT_MS 20000u   /* what all homes of a batch may cost; the plugin's own deadline is above it */
#define HOME_TIMEOUT_MIN_MS 1000u /* a slow disk still answers in this */

void batch_free(struct batch *batch)
{
	for (unsigned i = 0; batch->works && i < batch->request->count; i++)
		work_free(&batch->works[i]);
	free(batch->works);
	for (unsigned i = 0; i < batch->subject_count; i++) {
		subject_free(batch->subjects[i]);
		free(batch->subjects[i]);
	}
	free(batch->subjects);
	name_map_free(&batch->by_user);
	sshd_close(batch->sshd);
	key_ledger_free(&batch->ledger);
	revocation_free(&batch->revocation);
	sharers_free(&batch->sharers);
	account_table_free(&batch->passwd);
	account_table_free(&batch->members);
}

/* Where we have bound before: sshd may not read there now, and read there again some day. */
static int add_known_places(const struct key_ledger *ledger, struct subject *subject)
{
	unsigned index;

	if (subject->code != CODE_OK)
		return 0;
	for (unsigned i = key_ledger_first(ledger, subject->user); i != KEY_LEDGER_END; i = ledger->entries[i].next) {
		int r = locations_add(&subject->locations, &subject->account, ledger->entries[i].path, &index);
		if (r < 0 && r != -EINVAL)
			return r;
	}
	return 0;
}

static int find_subject(struct batch *batch, const char *user, struct subject **ret_subject)
{
	size_t known = name_map_get(&batch->by_user, user);
	if (known != NAME_MAP_NONE) {
		*ret_subject = batch->subjects[known];
		return 0;
	}
	struct subject *subject = calloc(1, sizeof(*subject));
	if (!subject)
		return -ENOMEM;
	subject->user = user;
	bool ask = true;
	for (unsigned i = 0; i < batch->subject_count; i++)
		ask = ask && !batch->subjects[i]->name_services_hang;
	int r = subject_open(
		batch->request, batch->sshd, &batch->sharers, &batch->members, &batch->definitions, ask, subject);
	if (r == 0)
		r = add_known_places(&batch->ledger, subject);
	if (r == 0)
		r = name_map_put(&batch->by_user, user, batch->subject_count);
	if (r < 0) {
		subject_free(subject);
		free(subject);
		return r;
	}
	subject->sync_later = batch->request->count >= INDEX_FROM && file_syncfs_is_reliable();
	batch->subjects[batch->subject_count++] = subject;
	*ret_subject = subject;
	return 0;
}

int batch_open(struct batch *batch, struct plugin_request *request, struct plugin_result *results)
{
	cleanup_account_table struct account_table group = {0};
	char detail[SSHD_DETAIL_MAX + 1] = "";

	batch->request = request;
	batch->works = calloc((size_t)request->count + 1, sizeof(*batch->works));
	batch->subjects = calloc((size_t)request->count + 1, sizeof(struct subject *));
	if (!batch->works || !batch->subjects)
		return -ENOMEM;
	for (unsigned i = 0; i < request->count; i++) {
		batch->works[i].command = &request->commands[i];
		batch->works[i].result = &results[i];
	}
	int r = account_table_read(request->root, "etc/passwd", &batch->passwd);
	if (r == 0)
		r = account_table_read(request->root, "etc/group", &group);
	if (r == 0)
		r = account_members_read(&group, &batch->members);
	if (r == 0 && request->count >= INDEX_FROM)
		r = account_index_build(&batch->passwd);
	if (r == 0)
		r = login_definitions_read(request->root, &batch->definitions);
	if (r < 0)
		return r;
	batch->sharers.passwd = &batch->passwd;
	r = key_ledger_read(request->state, &batch->ledger);
	if (r < 0)
		return r;
	r = sshd_open(request->root, request->is_host, request->state, &batch->sshd, detail);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		log_warning("sshd's configuration cannot be read: %s", detail);
	return 0;
}

/* What latchkey-apply decided on must still be the account that stands there. */
static bool resolved_moved(const struct work *work)
{
	int64_t uid;

	return work->command->resolved && work->subject->account.text &&
	       (json_get_integer(work->command->resolved, "uid", &uid) < 0 || work->subject->account.uid != (uid_t)uid);
}

static bool is_binding(const struct work *work)
{
	return strcmp(work->command->do_name, "keys.bind") == 0 || strcmp(work->command->do_name, "keys.replace") == 0;
}

static int run_sessions(const struct plugin_request *request, struct work *work)
{
	return request->apply ? sessions_apply(request, work->command, work->result)
			      : sessions_plan(request, work->command, work->result);
}

bool work_is_revocation(const struct work *work)
{
	return strcmp(work->command->do_name, "keys.revoke") == 0;
}

bool work_is_sweep(const struct work *work)
{
	return strcmp(work->command->do_name, "keys.sweep") == 0;
}

/* A sweep that names nobody is one of the list of revoked keys. */
static int sweep_revocation(struct batch *batch, struct work *work)
{
	int r = revocation_open(batch->request, batch->sshd, &batch->revocation);
	if (r < 0 || batch->request->apply)
		return r;
	work->result->changes = revocation_is_stale(batch->request, &batch->revocation);
	return plugin_set_plan(work->result, "{}");
}

static int run_revocation(struct batch *batch, struct work *work)
{
	int r = revocation_open(batch->request, batch->sshd, &batch->revocation);
	if (r < 0)
		return r;
	return batch->request->apply
		       ? revocation_change(batch->request, &batch->revocation, work->command, work->result)
		       : revocation_plan(batch->sshd, &batch->ledger, &batch->revocation, work->command, work->result);
}

/* Who it is about, and for a binding the line it wants. Without a subject the result says why, or is complete. */
static int prepare(struct batch *batch, struct work *work)
{
	const char *user = plugin_text(work->command, "user");

	if (strcmp(work->command->do_name, "sessions.end") == 0)
		return run_sessions(batch->request, work);
	if (work_is_revocation(work))
		return run_revocation(batch, work);
	if (work_is_sweep(work) && !user)
		return sweep_revocation(batch, work);
	int r = plugin_add_user(work->result, user);
	if (r == 0)
		r = find_subject(batch, user, &work->subject);
	if (r < 0)
		return r;
	if (work_is_sweep(work) && work->subject->code == CODE_NO_SUCH_USER) {
		work->subject = NULL;
		sweep_forget(batch->request, &batch->ledger, user, work->result);
		return plugin_set_plan(work->result, "{}");
	}
	if (work->subject->code != CODE_OK)
		return plugin_set(work->result, work->subject->code, "%s", work->subject->detail);
	if (resolved_moved(work))
		return plugin_set(work->result, CODE_BUSY, "the account changed while the command was decided");
	if (work_is_sweep(work))
		return work_look_for_known(work, &batch->ledger, NULL);
	if (batch->request->apply)
		return 0;
	if (strcmp(work->command->do_name, "keys.bind") != 0) {
		r = work_look_for_known(work, &batch->ledger, plugin_text(work->command, "keypair"));
		if (r < 0 || !is_binding(work))
			return r;
	}
	/* Whoever gave the account such a shell wants no logins; a key would still open tunnels. git-shell is for keys.
	 */
	if (account_shell_is_nologin(work->subject->account.shell))
		return plugin_set(work->result, CODE_SYSTEM_ACCOUNT,
			"nobody logs in to this account: its shell is %.100s", work->subject->account.shell);
	r = key_text_make(batch->request, work->command, batch->sshd, work->result, &work->text);
	if (r < 0 || work->result->code != CODE_OK)
		return r;
	return subject_add_blob(work->subject, work->text.key.blob, work->text.key.blob_size, &work->blob);
}

int batch_prepare(struct batch *batch)
{
	for (unsigned i = 0; i < batch->request->count; i++) {
		struct work *work = &batch->works[i];
		int r = prepare(batch, work);

		if (r == -ENOMEM)
			return r;
		if (r < 0 && work->result->code == CODE_OK)
			(void)plugin_set(work->result, code_from_errno(-r), "%s", strerror(-r));
	}
	/* One hung home must not take the others' time: with many accounts each gets its share. */
	for (unsigned i = 0; i < batch->subject_count; i++) {
		unsigned share = HOMES_TIMEOUT_MS / batch->subject_count;
		batch->subjects[i]->timeout_ms = share > USER_CHILD_TIMEOUT_MS ? USER_CHILD_TIMEOUT_MS
						 : share < HOME_TIMEOUT_MIN_MS ? HOME_TIMEOUT_MIN_MS
									       : share;
	}
	return 0;
}
