/* SPDX-License-Identifier: Apache-2.0 */
/* The view's first line: what anybody may know. */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/apply/damage.h"
#include "agent/apply/history.h"
#include "agent/apply/identity.h"
#include "agent/apply/ledger.h"
#include "agent/apply/trust.h"
#include "agent/apply/view.h"
#include "lib/paths.h"

static void put_problem(struct json_writer *writer, unsigned *count, const char *code, const char *detail)
{
	json_begin_object(writer, NULL);
	json_put_string(writer, "code", code);
	json_put_string(writer, "detail", detail);
	json_end_object(writer);
	(*count)++;
}

/* {"state","code","since"}: from the message, or as the last status.json says. */
static void put_endpoint(const struct apply *apply, const cJSON *old, const struct link_message *message,
	struct json_writer *writer, const char **ret_state, int64_t *ret_code)
{
	const cJSON *endpoint = NULL;
	const char *old_state = "none";
	int64_t code = 0, since = apply->clock;

	if (old && json_get_object(old, "endpoint", &endpoint) == 0) {
		(void)!json_get_string(endpoint, "state", &old_state);
		(void)!json_get_integer(endpoint, "code", &code);
		(void)!json_get_integer(endpoint, "since", &since);
	}
	const char *state = old_state;
	if (message) {
		code = message->code;
		state = code == 0 && message->text[0] == '\0'                       ? "none"
			: code == 0                                                 ? "unreachable"
			: strcmp(message->text, LINK_TEXT_FILES) == 0               ? "files"
			: (code >= 200 && code < 300) || code == 304 || code == 404 ? "ok"
										    : "refused";
		if (strcmp(state, old_state) != 0)
			since = apply->clock;
	}
	static const char *const states[] = {"ok", "files", "unreachable", "refused", "none"};
	*ret_state = "none";
	*ret_code = code;
	for (unsigned i = 0; i < ELEMENTS(states); i++) {
		if (strcmp(states[i], state) == 0)
			*ret_state = states[i];
	}
	json_begin_object(writer, "endpoint");
	json_put_string(writer, "state", *ret_state);
	json_put_integer(writer, "code", code);
	json_put_integer(writer, "since", since);
	json_end_object(writer);
}

struct drift {
	unsigned missing, contested;
};

/* latchkeyd's notes. While one is there, no result and no report arrives. */
static void put_identity(const struct apply *apply, struct json_writer *writer, unsigned *degraded)
{
	static const struct {
		const char *name, *code, *detail;
	} notes[] = {
		{NAME_IDENTITY_UNKNOWN, "not_registered",
			"the endpoint does not know this instance or its enrolment secret: latchkey instance add or "
			"reset, "
			"its secret to /etc/latchkey/enrol, systemctl restart latchkey-net"},
		{NAME_IDENTITY_OTHER, "identity_taken",
			"the endpoint knows another identity under this instance id: a copy's "
			"(docs/OPERATIONS.md), or one from before: latchkey instance reset, its secret to "
			"/etc/latchkey/enrol, systemctl restart latchkey-net"},
		{NAME_IDENTITY_REFUSED, "identity_refused", "the endpoint refuses this instance's identity"},
		{NAME_RESULTS_REFUSED, "results_refused",
			"the endpoint answers, and does not take results; they are kept and offered again: look at its "
			"log and its disk"},
	};
	struct stat status;

	for (unsigned i = 0; apply->run >= 0 && i < ELEMENTS(notes); i++) {
		if (fstatat(apply->run, notes[i].name, &status, AT_SYMLINK_NOFOLLOW) == 0)
			put_problem(writer, degraded, notes[i].code, notes[i].detail);
	}
}

static int visit_drift(const cJSON *line, void *context)
{
	struct drift *drift = context;
	const char *state = "";
	bool contested = false;

	(void)!json_get_string(line, "state", &state);
	(void)!json_get_bool(line, "contested", &contested);
	if (strcmp(state, "missing") == 0 || strcmp(state, "foreign") == 0)
		(*(contested ? &drift->contested : &drift->missing))++;
	return 0;
}

/* What the last sweep found. How many, not whose: everybody may read the status. */
static void put_drift(const struct apply *apply, struct json_writer *writer, unsigned *degraded)
{
	struct drift drift = {0};
	char detail[DETAIL_MAX + 1];

	if (ledger_walk(apply, "authorized-keys", visit_drift, &drift) < 0)
		return;
	if (drift.missing > 0) {
		(void)snprintf(detail, sizeof(detail),
			"bound keys that are gone: %u (latchctl keys shows root which; bind them again)",
			drift.missing);
		put_problem(writer, degraded, "drift", detail);
	}
	if (drift.contested > 0) {
		(void)snprintf(detail, sizeof(detail),
			"bound keys that were put back and taken away again: %u (latchctl keys shows root which)",
			drift.contested);
		put_problem(writer, degraded, "drift_contested", detail);
	}
}

/* Why the endpoint is no help: told once, when that began. */
static void put_endpoint_problem(const char *state, int64_t answer, const cJSON *old,
	const struct link_message *message, struct json_writer *writer, unsigned *degraded)
{
	const cJSON *problems, *problem;
	const char *code, *detail = message ? message->text : "", *old_code;
	char answered[64];

	if (strcmp(state, "unreachable") == 0) {
		code = "endpoint_unreachable";
	} else if (strcmp(state, "refused") == 0) {
		code = "endpoint_refused";
		(void)snprintf(answered, sizeof(answered), "it answers every request with %" PRIi64, answer);
		detail = answered;
	} else {
		return;
	}
	if (!message && detail != answered && old && json_get_array(old, "problems", &problems) == 0) {
		cJSON_ArrayForEach(problem, problems)
		{
			if (json_get_string(problem, "code", &old_code) == 0 && strcmp(old_code, code) == 0)
				(void)!json_get_string(problem, "detail", &detail);
		}
	}
	put_problem(writer, degraded, code, detail);
}

int view_put_status(struct apply *apply, const cJSON *old, const struct link_message *message, struct buffer *out,
	int64_t *ret_trust_version)
{
	cleanup_trust struct trust trust = {0};
	cleanup_buffer struct buffer problems = {0};
	struct json_writer writer = {out, false}, problem_writer = {&problems, false};
	const char *mode = policy_mode_name(policy_mode(&apply->policy));
	const char *trust_mode = config_text(&apply->config, "agent", "trust"), *state;
	int64_t pending, verified, answer;
	unsigned failing = 0, degraded = 0, harmless = 0;
	char fingerprint[SSHKEY_FINGERPRINT_SIZE], detail[DETAIL_MAX + 1];

	bool history_unreadable = history_read_floors(apply, &apply->floors) < 0;
	history_progress(apply, &pending, &verified);
	int trust_result = trust_load(apply, &trust);
	*ret_trust_version = trust.version;
	const char *state_detail = "", *state_problem = apply_state_problem(apply, &state_detail);
	if (state_problem)
		put_problem(&problem_writer, apply->state < 0 || apply->state_is_newer ? &failing : &degraded,
			state_problem, state_detail);
	if (history_unreadable)
		put_problem(&problem_writer, &failing, "history_unreadable",
			"the history cannot be read, so no document is taken over");
	if (damage_kept(apply)) {
		(void)snprintf(detail, sizeof(detail), "look at /var/lib/latchkey/quarantine/%s and take it away",
			damage_kept(apply));
		put_problem(&problem_writer, &degraded, "state_damaged", detail);
	}
	if (apply->config_error[0])
		put_problem(&problem_writer, &failing, "config_invalid", apply->config_error);
	if (apply->policy.broken)
		put_problem(&problem_writer, &failing, "policy_invalid", apply->policy.error);
	if (trust_result < 0)
		put_problem(
			&problem_writer, &failing, "trust_unreadable", "the trust document in force cannot be read");
	if (trust.problem[0])
		put_problem(&problem_writer, &failing, "signers_invalid", trust.problem);
	if (strcmp(trust_mode, "unsigned") == 0)
		put_problem(&problem_writer, &degraded, "trust_unsigned",
			"[agent] trust = unsigned: whoever answers as "
			"the endpoint may ask what [unsigned] allows");
	else if (trust_result == 0 && trust.signers.count == 0)
		put_problem(&problem_writer, &degraded, "no_signers",
			"nobody may sign: add a line to /etc/latchkey/allowed_signers");
	put_drift(apply, &problem_writer, &degraded);
	if (apply->clock_wrong)
		put_problem(&problem_writer, &degraded, "clock_wrong", "the clock stands before the newest document");
	if (policy_mode(&apply->policy) != POLICY_ENFORCE && !apply->policy.broken)
		put_problem(&problem_writer, &degraded, "mode", "the policy's mode lets nothing be changed");
	json_begin_object(&writer, NULL);
	json_put_integer(&writer, "v", 1);
	json_put_string(&writer, "agent", LATCHKEY_VERSION);
	json_put_integer(&writer, "time", apply->clock);
	/* No fault of the machine's owner, so health does not follow it. */
	if (sandbox_missing())
		put_problem(&problem_writer, &harmless, "sandbox", sandbox_missing());
	/* put_endpoint finds out one more problem, so health and problems follow it. */
	put_endpoint(apply, old, message, &writer, &state, &answer);
	put_identity(apply, &problem_writer, &degraded);
	put_endpoint_problem(state, answer, old, message, &problem_writer, &degraded);
	json_put_string(&writer, "health", failing ? "failing" : degraded ? "degraded" : "ok");
	json_put_string(&writer, "mode", mode);
	json_put_string(&writer, "trust", trust_mode);
	if (apply->instance[0])
		json_put_string(&writer, "instance", apply->instance);
	if (identity_fingerprint(apply, fingerprint) == 0)
		json_put_string(&writer, "identity", fingerprint);
	json_put_integer(&writer, "seq", apply->floors.seq);
	json_put_integer(&writer, "pending", pending);
	if (verified > 0)
		json_put_integer(&writer, "verified", verified);
	json_begin_array(&writer, "problems");
	int r = buffer_status(&problems);
	if (r < 0)
		return r;
	buffer_append(out, problems.bytes, problems.size);
	json_end_array(&writer);
	json_end_object(&writer);
	buffer_append(out, "\n", 1);
	return buffer_status(out);
}
