/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's numbers as OpenMetrics text: each family whole, with HELP, TYPE and, where it has one, UNIT. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/ctl/output.h"

static const struct {
	const char *member; /* of GetMetrics; one that ends in a dot is a group, the rest of its names are the labels */
	const char *name, *unit, *help;
	const char *labels[2];
} families[] = {
	{"healthy", "latchkey_healthy", NULL, "Whether the agent's health is ok.", {0}},
	{"endpoint_up", "latchkey_endpoint_up", NULL, "Whether the endpoint answers.", {0}},
	{"pending", "latchkey_pending_commands", NULL, "Commands that wait to be tried again or confirmed.", {0}},
	{"problems", "latchkey_problems", NULL, "Problems that latchctl status shows.", {0}},
	{"problem.", "latchkey_problem_codes", NULL, "Problems by code.", {"code"}},
	{"users", "latchkey_users", NULL, "Users that are managed.", {0}},
	{"keys", "latchkey_keys", NULL, "Keys that are bound.", {0}},
	{"keys.", "latchkey_key_states", NULL, "Bound keys by state; all but present have drifted.", {"state"}},
	{"blocked.", "latchkey_blocked_logins", NULL, "Managed users whom this keeps from logging in that way.",
		{"method", "blocker"}},
	{"commands", "latchkey_history_commands", NULL, "Commands in the history that is kept.", {0}},
	{"seq", "latchkey_document_seq", NULL, "Number of the newest document taken over.", {0}},
	{"verified", "latchkey_verified_timestamp_seconds", "seconds", "When a document was last verified.", {0}},
	{"time", "latchkey_view_timestamp_seconds", "seconds", "When the agent last looked.", {0}},
};

static bool is_label(const char *text, size_t size)
{
	return size > 0 && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") >= size;
}

/* {method="key",blocker="no_key"} of "key.no_key"; false for what is no such name. */
static bool put_sample(const char *name, const char *const labels[2], const char *rest, int64_t value)
{
	cleanup_buffer struct buffer text = {0};

	for (unsigned i = 0; i < 2 && labels[i]; i++) {
		size_t size = i == 0 && labels[1] ? strcspn(rest, ".") : strlen(rest);
		if (!is_label(rest, size))
			return false;
		buffer_append_format(&text, "%s%s=\"%.*s\"", i ? "," : "{", labels[i], (int)size, rest);
		rest += size + (rest[size] == '.');
	}
	if (labels[0])
		buffer_append_text(&text, "}");
	(void)printf("%s%s %" PRIi64 "\n", name, text.bytes ? text.bytes : "", value);
	return true;
}

void output_metrics(const cJSON *metrics)
{
	for (unsigned i = 0; i < ELEMENTS(families); i++) {
		size_t size = strlen(families[i].member);
		bool is_group = families[i].labels[0] != NULL;
		const cJSON *metric;

		(void)printf("# HELP %s %s\n# TYPE %s gauge\n", families[i].name, families[i].help, families[i].name);
		if (families[i].unit)
			(void)printf("# UNIT %s %s\n", families[i].name, families[i].unit);
		cJSON_ArrayForEach(metric, metrics)
		{
			if (!cJSON_IsNumber(metric) ||
				(is_group ? strncmp(metric->string, families[i].member, size) != 0
					  : strcmp(metric->string, families[i].member) != 0))
				continue;
			(void)put_sample(
				families[i].name, families[i].labels, metric->string + size, json_integer_of(metric));
		}
	}
	(void)printf("# EOF\n");
}
