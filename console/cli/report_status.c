/* SPDX-License-Identifier: Apache-2.0 */
#include "console/cli/report_status.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "console/cli/http.h"

#define CLOCKS_DIFFER 300 /* seconds between the instance's clock and ours, as documents allow */
#define OFFERED_MAX 64    /* reports of one answer that are looked at */

/* The newest by its own time becomes the report; everything else counts for what was before. */
static void take(struct report_status *status, struct report *report, bool *ret_newest)
{
	bool newest = !status->report.payload ||
		      report->marks.values[REPORT_TIME] >= status->report.marks.values[REPORT_TIME];

	if (newest && status->report.payload)
		report_marks_raise(&status->before, &status->report.marks);
	else if (!newest)
		report_marks_raise(&status->before, &report->marks);
	if (newest) {
		report_free(&status->report);
		status->report = *report;
		*report = (struct report){0};
	}
	*ret_newest = newest;
}

static void judge(
	struct report_status *status, const struct pin *pin, int64_t seq, int64_t seq_time, bool newest_is_last)
{
	struct report_marks known = pin->report;
	int64_t when = status->report.marks.values[REPORT_TIME];

	if (!status->report.payload) {
		status->state = known.values[REPORT_TIME] > 0 ? REPORT_LOST : REPORT_NONE;
		return;
	}
	status->state = REPORT_OK;
	if (when < known.values[REPORT_TIME]) {
		status->state = REPORT_REPLAYED;
		status->before = known;
		return;
	}
	report_marks_raise(&status->before, &known);
	known = (struct report_marks){0};
	/* A report follows an identity or a result by some seconds: only one that was made later must know of it. */
	if (when > pin->generation_seen + CLOCKS_DIFFER)
		known.values[REPORT_GENERATION] = pin->generation;
	if (when > seq_time)
		known.values[REPORT_SEQ] = seq;
	report_marks_raise(&status->before, &known);
	status->lower = report_marks_lower(&status->before, &status->report.marks);
	if (!newest_is_last)
		status->lower |= 1u << REPORT_TIME;
}

static enum cli_exit read_all(
	const struct http_answer *answer, const struct pin *pin, struct report_status *status, bool *ret_newest_is_last)
{
	cleanup_json cJSON *root = NULL;
	const cJSON *list, *item;
	int left = OFFERED_MAX;

	if (json_parse_object(answer->body.bytes, answer->body.size, &root) < 0 ||
		json_get_array(root, "reports", &list) < 0) {
		complain("the endpoint's list of reports is malformed");
		return CLI_ENDPOINT;
	}
	cJSON_ArrayForEach(item, list)
	{
		cleanup_report struct report report = {0};
		const char *text;
		if (left-- == 0)
			break;
		if (json_get_string(item, "report", &text) < 0 ||
			report_read(text, pin->instance, pin->sign_blob, pin->sign_blob_size, &report) != CODE_OK) {
			status->strange++;
			continue;
		}
		(void)!json_get_integer(item, "received", &report.received);
		take(status, &report, ret_newest_is_last);
	}
	return CLI_OK;
}

enum cli_exit report_status_load(
	struct cli *cli, struct pin *pin, int64_t seq, int64_t seq_time, struct report_status *ret_status)
{
	cleanup_http_answer struct http_answer answer = {0};
	cleanup_report_status struct report_status status = {0};
	bool newest_is_last = true;
	char path[192];

	if (!pin->sign_blob) {
		*ret_status = status;
		return CLI_OK;
	}
	(void)snprintf(path, sizeof(path), "/instances/%s/report", pin->instance);
	enum cli_exit r = http_exchange(cli, &(struct http_request){.method = "GET", .path = path}, false, &answer);
	if (r != CLI_OK)
		return r;
	if (answer.status == 404 || answer.status == 405) {
		status.state = REPORT_UNSUPPORTED;
	} else if (answer.status != 200) {
		return http_unexpected("report", &answer);
	} else {
		r = read_all(&answer, pin, &status, &newest_is_last);
		if (r != CLI_OK)
			return r;
		judge(&status, pin, seq, seq_time, newest_is_last);
	}
	if (status.report.payload) {
		report_marks_raise(&pin->report, &status.report.marks);
		r = pin_save(cli, pin);
	}
	*ret_status = status;
	status = (struct report_status){0};
	return r;
}

void report_status_free(struct report_status *status)
{
	report_free(&status->report);
}

static const char *state_name(enum report_state state)
{
	switch (state) {
	case REPORT_NONE:
		return "none";
	case REPORT_UNSUPPORTED:
		return "unsupported";
	case REPORT_OK:
		return "ok";
	case REPORT_REPLAYED:
		return "replayed";
	case REPORT_LOST:
		return "lost";
	}
	return "";
}

void report_status_put_json(const struct report_status *status, struct json_writer *writer)
{
	json_begin_object(writer, "report");
	json_put_string(writer, "state", state_name(status->state));
	json_put_integer(writer, "strange", status->strange);
	json_begin_array(writer, "went_back");
	for (unsigned i = 0; i < REPORT_MARKS; i++) {
		if ((status->lower & (1u << i)) == 0)
			continue;
		json_begin_object(writer, NULL);
		json_put_string(writer, "what", report_mark_name((enum report_mark)i));
		json_put_integer(writer, "before", status->before.values[i]);
		json_put_integer(writer, "now", status->report.marks.values[i]);
		json_end_object(writer);
	}
	json_end_array(writer);
	if (status->report.payload) {
		json_put_integer(writer, "received", status->report.received);
		json_put_value(writer, "content", status->report.payload);
	}
	json_end_object(writer);
}

static void put_time(struct buffer *text, int64_t seconds)
{
	time_t when = (time_t)seconds;
	char out[32] = "";
	struct tm parts;

	if (gmtime_r(&when, &parts))
		(void)strftime(out, sizeof(out), "%Y-%m-%d %H:%M:%SZ", &parts);
	buffer_append_text(text, out);
}

static const char *text_of(const cJSON *object, const char *name)
{
	const char *text = "";
	(void)!json_get_string(object, name, &text);
	return text;
}

static int64_t number_of(const cJSON *object, const char *name)
{
	int64_t number = 0;
	(void)!json_get_integer(object, name, &number);
	return number;
}

static bool is_true(const cJSON *object, const char *name)
{
	bool value = false;
	(void)!json_get_bool(object, name, &value);
	return value;
}

static void put_went_back(const struct report_status *status, struct buffer *text)
{
	const char *separator = "";

	if (!status->lower)
		return;
	buffer_append_text(text, "\n  WENT BACK IN TIME: ");
	for (unsigned i = 0; i < REPORT_MARKS; i++) {
		if ((status->lower & (1u << i)) == 0)
			continue;
		buffer_append_format(text, "%s%s", separator, report_mark_name((enum report_mark)i));
		if (i == REPORT_TIME)
			buffer_append_text(text, " of its newest report");
		else
			buffer_append_format(text, " is %" PRIi64 " and was %" PRIi64, status->report.marks.values[i],
				status->before.values[i]);
		separator = ", ";
	}
	buffer_append_text(text, ": a snapshot was restored, the floors were reset, or the endpoint withholds");
}

static void put_sshd(const cJSON *payload, struct buffer *text)
{
	const cJSON *sshd = json_member(payload, "sshd"), *setting;
	const char *separator = "\n  sshd: ";

	if (!sshd)
		return;
	if (strcmp(text_of(sshd, "state"), "ok") != 0) {
		buffer_append_format(text, "\n  sshd: %s", text_of(sshd, "state"));
		return;
	}
	cJSON_ArrayForEach(setting, json_member(sshd, "settings"))
	{
		buffer_append_format(text, "%s%s %s", separator, setting->string, setting->valuestring);
		separator = ", ";
	}
}

static void put_lists(const cJSON *payload, struct buffer *text)
{
	const cJSON *users = json_member(payload, "users"), *keys = json_member(payload, "keys"), *item;

	cJSON_ArrayForEach(item, users)
	{
		buffer_append_format(text, "\n  user %s: login by key %s, by password %s", text_of(item, "user"),
			is_true(item, "key") ? "works" : "does not work",
			is_true(item, "password") ? "works" : "does not work");
	}
	if (number_of(payload, "user_count") > cJSON_GetArraySize(users))
		buffer_append_format(text, "\n  and more users, %" PRIi64 " in all", number_of(payload, "user_count"));
	cJSON_ArrayForEach(item, keys)
	{
		buffer_append_format(text, "\n  key %s of %s: %s, %s", text_of(item, "keypair"), text_of(item, "user"),
			text_of(item, "fingerprint"), text_of(item, "state"));
	}
	if (number_of(payload, "key_count") > cJSON_GetArraySize(keys))
		buffer_append_format(text, "\n  and more keys, %" PRIi64 " in all", number_of(payload, "key_count"));
}

static void put_content(const cJSON *payload, struct buffer *text)
{
	const cJSON *drift = json_member(payload, "drift"), *problem;
	const char *separator = "\n  problems: ";

	buffer_append_format(text, "\n  mode %s, policy %.12s, trust document %" PRIi64 ", newest document %" PRIi64,
		text_of(payload, "mode"), text_of(payload, "policy"), number_of(payload, "trust"),
		number_of(payload, "seq"));
	put_sshd(payload, text);
	cJSON_ArrayForEach(problem, json_member(payload, "problems"))
	{
		buffer_append_format(text, "%s%s", separator, problem->valuestring);
		separator = ", ";
	}
	if (number_of(drift, "missing") + number_of(drift, "foreign") + number_of(drift, "inherited") > 0)
		buffer_append_format(text,
			"\n  drift: %" PRIi64 " keys missing, %" PRIi64 " foreign, %" PRIi64 " inherited",
			number_of(drift, "missing"), number_of(drift, "foreign"), number_of(drift, "inherited"));
	put_lists(payload, text);
}

void report_status_put_text(const struct report_status *status, const struct pin *pin, struct buffer *text)
{
	const cJSON *payload = status->report.payload;

	if (status->state == REPORT_NONE && pin->sign)
		buffer_append_text(text, "\n  it has not reported yet");
	if (status->state == REPORT_UNSUPPORTED && pin->sign)
		buffer_append_text(text, "\n  the endpoint keeps no reports");
	if (!payload)
		return;
	buffer_append_text(text, "\n  last seen ");
	put_time(text, status->report.marks.values[REPORT_TIME]);
	buffer_append_format(text, ", agent %s", text_of(payload, "agent"));
	if (*text_of(json_member(payload, "sshd"), "version"))
		buffer_append_format(text, ", sshd %s", text_of(json_member(payload, "sshd"), "version"));
	if (status->state == REPORT_REPLAYED)
		buffer_append_text(text, "\n  THIS IS AN OLD REPORT: a newer one was seen before");
	put_went_back(status, text);
	put_content(payload, text);
}

enum cli_exit report_status_verdict(const struct report_status *status, const struct pin *pin)
{
	if (status->strange > 0)
		complain("%u of the reports offered for %s are not signed by its pinned key and do not count",
			status->strange, pin->instance);
	if (status->state == REPORT_REPLAYED)
		complain("the endpoint offers an old report of %s, or it was restored from a backup", pin->instance);
	if (status->state == REPORT_LOST)
		complain("the endpoint has lost the report of %s that it had before", pin->instance);
	bool bad = status->strange > 0 || status->state == REPORT_REPLAYED || status->state == REPORT_LOST;
	return bad ? CLI_TRUST : CLI_OK;
}
