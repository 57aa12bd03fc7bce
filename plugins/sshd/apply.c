/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "plugins/sshd/check.h"
#include "plugins/sshd/commands.h"
#include "plugins/sshd/pending.h"
#include "plugins/sshd/service.h"

static int fail_errno(struct plugin_result *result, int r, const char *what)
{
	if (r == -ENOMEM)
		return r;
	return plugin_set(result, code_from_errno(-r), "%s: %s", what, strerror(-r));
}

static enum code validate(
	const struct plugin_request *request, struct sshd **ret_sshd, char ret_detail[SSHD_DETAIL_MAX + 1])
{
	int r = sshd_open(request->root, request->is_host, request->state, ret_sshd, ret_detail);
	if (r == -EINVAL)
		return CODE_SSHD_INVALID;
	if (r < 0)
		return CODE_CANNOT_VALIDATE;
	if (!request->is_host) /* the scan has read it all, and our own lines are a fixed few */
		return CODE_OK;
	switch (sshd_test(*ret_sshd, ret_detail)) {
	case SSHD_VALID:
		return CODE_OK;
	case SSHD_INVALID:
		return CODE_SSHD_INVALID;
	case SSHD_CANNOT_VALIDATE:
	default:
		return CODE_CANNOT_VALIDATE;
	}
}

/* Puts the old bytes back; where that fails too, it is what the result must say. */
static int give_up(struct place *place, struct plugin_result *result, enum code code, const char *detail)
{
	int r = place_restore(place);
	if (r < 0)
		return plugin_set(result, code, "%.100s; the old file could not be put back: %s", detail, strerror(-r));
	return plugin_set(result, code, "%s", detail);
}

/* The listener has ended: old bytes, and the manager starts again what was running. */
static int roll_back(const struct plugin_request *request, struct place *place, const struct service *service,
	struct plugin_result *result)
{
	cleanup_sshd struct sshd *sshd = NULL;
	char detail[SSHD_DETAIL_MAX + 1] = "";

	int r = place_restore(place);
	if (r < 0)
		return plugin_set(
			result, CODE_LISTENER_GONE, "sshd ended; the old file could not be put back: %s", strerror(-r));
	if (validate(request, &sshd, detail) == CODE_SSHD_INVALID)
		return plugin_set(result, CODE_LISTENER_GONE, "sshd ended, and will not start: %.120s", detail);
	bool back = service_bring_back(service);
	return plugin_set(result, CODE_LISTENER_GONE, "sshd ended%s",
		back ? " and was started again with the old configuration" : "; nothing here can start it again");
}

static int put_in_force(const struct plugin_request *request, struct place *place, struct sshd *sshd, bool redo,
	const char *pending, struct plugin_result *result)
{
	char detail[SSHD_DETAIL_MAX + 1] = "";
	const struct sshd_effective *effective;
	cleanup_service struct service service = {.process = {0, -1}};

	if (!request->is_host)
		return plugin_set(result, CODE_OK, "not validated by sshd: nothing is executed below another root");
	int r = sshd_get_effective(sshd, "root", &effective, detail);
	if (r < 0)
		return give_up(place, result, r == -EBADMSG ? CODE_SSHD_INVALID : CODE_CANNOT_VALIDATE, detail);
	service_find(effective, &service);
	if (place->drop_in_written || place->main_written || redo) {
		enum code code = service_reload(&service, effective, false, detail);
		if (code == CODE_LISTENER_GONE)
			return roll_back(request, place, &service, result);
		if (code != CODE_OK)
			return give_up(place, result, code, detail);
		if (*pending && service.running && !service.unit.by_socket)
			return plugin_set(result, CODE_OK, "%.75s%s%s", detail, *detail ? "; " : "", pending);
	}
	return plugin_set(result, CODE_OK, "%s", detail);
}

static int supersede(struct plugin_result *result)
{
	return plugin_set(result, CODE_SUPERSEDED, "something else has set it meanwhile");
}

static int carry_out(
	const struct plugin_request *request, struct settings_change *change, bool redo, struct plugin_result *result)
{
	cleanup_settings struct settings next = {0};
	cleanup_sshd struct sshd *sshd = NULL;
	cleanup_place struct place place = {0};
	char detail[SSHD_DETAIL_MAX + 1] = "", pending[PENDING_SIZE] = "";
	bool written = false;

	if (request->is_host)
		pending_describe(request->root, pending);
	int r = place_read(request->root, &place);
	if (r < 0)
		return fail_errno(result, r, SSHD_DIRECTORY);
	/* What nobody else has set since goes back all the same: a door must not stay shut for another's sake. */
	bool foreign = request->undo && settings_change_leave_foreign(change, &place.settings);
	bool is_after = settings_match(change, &change->after, &place.settings);
	if (foreign && is_after)
		return supersede(result);
	if (!is_after && (request->redo || request->undo) && !settings_match(change, &change->before, &place.settings))
		return supersede(result);
	r = settings_apply(change, &place.settings, &next);
	if (request->is_host)
		place_mark_unfinished(request->state);
	if (r == 0)
		r = place_write(&place, &next, &written, detail);
	if (r < 0) {
		int s = place_restore(&place);
		if (r == -ENOTSUP)
			return plugin_set(result, CODE_UNSUPPORTED, "%s", detail);
		if (r == -EINVAL)
			return plugin_set(result, CODE_SSHD_INVALID, "%s", detail);
		return fail_errno(result, s < 0 ? s : r, SSHD_DIRECTORY);
	}
	enum code code = validate(request, &sshd, detail);
	if (code != CODE_OK)
		return give_up(&place, result, code, detail);
	result->changes = written || redo;
	r = put_in_force(request, &place, sshd, redo, pending, result);
	if (r < 0 || result->code != CODE_OK) {
		result->changes = false;
		return r;
	}
	if (foreign) {
		place_clear_unfinished(request->state);
		return supersede(result);
	}
	code = check_effective(sshd, &change->after, detail);
	if (code == CODE_OVERRIDDEN || (code == CODE_OK && *detail)) {
		char rest[SSHD_DETAIL_MAX + 1];
		(void)snprintf(rest, sizeof(rest), "%s", code == CODE_OK ? result->detail : "");
		return plugin_set(result, code, "%s%s%s", detail, *rest ? "; " : "", rest);
	}
	return 0;
}

static int change(const struct plugin_request *request, struct settings_change *change, struct plugin_result *result)
{
	bool unfinished = request->is_host && place_is_unfinished(request->state);

	int r = carry_out(request, change, request->redo || unfinished, result);
	/* What will be tried again keeps its mark, and so does what somebody else has written over. */
	if (r == 0 && result->code != CODE_SUPERSEDED && !code_is_retried(result->code))
		place_clear_unfinished(request->state);
	return r;
}

int change_apply(
	const struct plugin_request *request, const struct plugin_command *command, struct plugin_result *result)
{
	cleanup_settings_change struct settings_change planned = {0};

	place_sweep(request->root);
	int r = settings_change_read(command->plan, &planned);
	if (r == -EBADMSG)
		return plugin_set(result, CODE_INTERNAL, "the plan is not one of ours");
	if (r < 0)
		return r;
	if (request->undo)
		settings_change_exchange(&planned);
	return change(request, &planned, result);
}

int action_apply(const struct plugin_request *request, bool restart, struct plugin_result *result)
{
	cleanup_service struct service service = {.process = {0, -1}};
	cleanup_sshd struct sshd *sshd = NULL;
	char detail[SSHD_DETAIL_MAX + 1] = "", pending[PENDING_SIZE];
	const struct sshd_effective *effective;

	if (request->undo)
		return plugin_set(result, CODE_OK, "a reload cannot be taken back");
	if (!request->is_host)
		return plugin_set(result, CODE_UNSUPPORTED, "no service is touched below another root");
	enum code code = validate(request, &sshd, detail);
	if (code != CODE_OK)
		return plugin_set(result, code, "%s", detail);
	int r = sshd_get_effective(sshd, "root", &effective, detail);
	if (r < 0)
		return plugin_set(result, r == -EBADMSG ? CODE_SSHD_INVALID : CODE_CANNOT_VALIDATE, "%s", detail);
	pending_describe(request->root, pending);
	service_find(effective, &service);
	result->changes = service.running;
	code = service_reload(&service, effective, restart, detail);
	if (code == CODE_LISTENER_GONE)
		(void)snprintf(detail, sizeof(detail), "sshd ended%s",
			service_bring_back(&service) ? " and was started again" : "; nothing here can start it again");
	if (code == CODE_OK && *pending && service.running && !service.unit.by_socket)
		return plugin_set(result, code, "%.75s%s%s", detail, *detail ? "; " : "", pending);
	return plugin_set(result, code, "%s", detail);
}
