/* SPDX-License-Identifier: Apache-2.0 */
#include "console/cli/pins.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "console/cli/http.h"
#include "console/cli/state.h"
#include "lib/json.h"
#include "lib/name_map.h"

#define FILE_NAME "known_instances"

static enum cli_exit out_of_memory(void)
{
	complain("out of memory");
	return CLI_LOCAL;
}

static int64_t take_integer(const cJSON *entry, const char *name)
{
	int64_t integer = 0;
	(void)!json_get_integer(entry, name, &integer);
	return integer;
}

static enum cli_exit decode_sign(struct pin *pin)
{
	cleanup_sshkey struct sshkey key = {0};
	char detail[DETAIL_MAX + 1];

	if (sshkey_parse(pin->sign, strlen(pin->sign), &key, detail) != CODE_OK || key.family != SSHKEY_ED25519) {
		complain(FILE_NAME ": the key of %s is damaged", pin->instance);
		return CLI_LOCAL;
	}
	free(pin->sign_blob);
	pin->sign_blob = steal_pointer(&key.blob);
	pin->sign_blob_size = key.blob_size;
	return CLI_OK;
}

/* The pin of an instance that known_instances says this of; NULL: nothing. */
static enum cli_exit read_entry(const char *instance, const cJSON *entry, struct pin *ret_pin)
{
	cleanup_pin struct pin pin = {0};
	const char *sign, *box;

	pin.instance = strdup(instance);
	if (!pin.instance)
		return out_of_memory();
	if (entry) {
		pin.generation = take_integer(entry, "generation");
		pin.generation_seen = take_integer(entry, "generation_seen");
		pin.seq = take_integer(entry, "seq");
		pin.expires = take_integer(entry, "expires");
		pin.results = take_integer(entry, "results");
		pin.when = take_integer(entry, "when");
		for (unsigned i = 0; i < REPORT_MARKS; i++)
			pin.report.values[i] =
				take_integer(json_member(entry, "report"), report_mark_name((enum report_mark)i));
		if (json_get_string(entry, "sign", &sign) == 0 && json_get_string(entry, "box", &box) == 0) {
			pin.sign = strdup(sign);
			pin.box = strdup(box);
			if (!pin.sign || !pin.box)
				return out_of_memory();
			enum cli_exit r = decode_sign(&pin);
			if (r != CLI_OK)
				return r;
		}
	}
	*ret_pin = pin;
	pin = (struct pin){0};
	return CLI_OK;
}

enum cli_exit pin_load(struct cli *cli, const char *instance, struct pin *ret_pin)
{
	cleanup_json cJSON *root = NULL;

	if (!field_is_instance(instance)) {
		complain("%s is no instance id", instance);
		return CLI_USAGE;
	}
	enum cli_exit r = state_load_json(cli, FILE_NAME, &root);
	return r == CLI_OK ? read_entry(instance, json_member(root, instance), ret_pin) : r;
}

enum cli_exit pins_visit(struct cli *cli, const cJSON *instances, pin_visitor visitor, void *context)
{
	cleanup_name_map struct name_map places = {0};
	cleanup_json cJSON *root = NULL;
	const cJSON *entry, *name;
	size_t count = 0;

	enum cli_exit r = state_load_json(cli, FILE_NAME, &root);
	if (r != CLI_OK)
		return r;
	cleanup_free const cJSON **entries = calloc((size_t)cJSON_GetArraySize(root) + 1, sizeof(cJSON *));
	if (!entries)
		return out_of_memory();
	cJSON_ArrayForEach(entry, root)
	{
		entries[count] = entry;
		if (name_map_put(&places, entry->string, count++) < 0)
			return out_of_memory();
	}
	cJSON_ArrayForEach(name, instances)
	{
		cleanup_pin struct pin pin = {0};
		if (!cJSON_IsString(name) || !field_is_instance(name->valuestring))
			continue;
		size_t place = name_map_get(&places, name->valuestring);
		r = read_entry(name->valuestring, place == NAME_MAP_NONE ? NULL : entries[place], &pin);
		if (r != CLI_OK)
			return r;
		visitor(context, &pin);
	}
	return CLI_OK;
}
void pin_free(struct pin *pin)
{
	free(pin->instance);
	free(pin->sign);
	free(pin->box);
	free(pin->sign_blob);
	*pin = (struct pin){0};
}

static bool add_members(const struct pin *pin, cJSON *entry)
{
	bool good = cJSON_AddNumberToObject(entry, "generation", (double)pin->generation) &&
		    cJSON_AddNumberToObject(entry, "generation_seen", (double)pin->generation_seen) &&
		    cJSON_AddNumberToObject(entry, "seq", (double)pin->seq) &&
		    cJSON_AddNumberToObject(entry, "expires", (double)pin->expires) &&
		    cJSON_AddNumberToObject(entry, "results", (double)pin->results) &&
		    cJSON_AddNumberToObject(entry, "when", (double)pin->when);
	if (good && pin->report.values[REPORT_TIME] > 0) {
		cJSON *report = cJSON_AddObjectToObject(entry, "report");
		for (unsigned i = 0; (good = good && report) && i < REPORT_MARKS; i++)
			good = cJSON_AddNumberToObject(
				report, report_mark_name((enum report_mark)i), (double)pin->report.values[i]);
	}
	if (good && pin->sign)
		good = cJSON_AddStringToObject(entry, "sign", pin->sign) &&
		       cJSON_AddStringToObject(entry, "box", pin->box);
	return good;
}

enum cli_exit pin_save(struct cli *cli, const struct pin *pin)
{
	cleanup_json cJSON *root = NULL;
	cleanup_json cJSON *entry = cJSON_CreateObject();

	enum cli_exit r = state_load_json(cli, FILE_NAME, &root);
	if (r != CLI_OK)
		return r;
	if (!entry || !add_members(pin, entry))
		return out_of_memory();
	cJSON_DeleteItemFromObjectCaseSensitive(root, pin->instance);
	if (!cJSON_AddItemToObject(root, pin->instance, entry))
		return out_of_memory();
	entry = NULL;
	return state_save_json(cli, FILE_NAME, root);
}

enum cli_exit pin_forget(struct cli *cli, const char *instance)
{
	cleanup_pin struct pin pin = {0};

	enum cli_exit r = pin_load(cli, instance, &pin);
	if (r != CLI_OK)
		return r;
	free(steal_pointer(&pin.sign));
	free(steal_pointer(&pin.box));
	pin.generation = 0;
	pin.report = (struct report_marks){0};
	return pin_save(cli, &pin);
}

static enum cli_exit set_keys(struct pin *pin, const struct identity *identity)
{
	cleanup_buffer struct buffer line = {0};

	sshkey_append(&identity->sign, &line);
	char *box = strdup(identity->box_text);
	if (buffer_status(&line) < 0 || !box) {
		free(box);
		return out_of_memory();
	}
	free(pin->sign);
	free(pin->box);
	pin->sign = buffer_steal(&line);
	pin->box = box;
	pin->generation = identity->generation;
	pin->generation_seen = cli_now();
	return decode_sign(pin);
}

static enum cli_exit approve(const struct arguments *arguments, const struct identity *identity)
{
	const char *expected = arguments_option(arguments, "fingerprint");
	char answer[16] = "";

	if (expected) {
		if (strcmp(expected, identity->fingerprint) == 0)
			return CLI_OK;
		complain("%s has the key %s, not the expected %s", identity->instance, identity->fingerprint, expected);
		return CLI_TRUST;
	}
	if (arguments_option(arguments, "accept-new-identity")) {
		note("pinned %s with the key %s", identity->instance, identity->fingerprint);
		return CLI_OK;
	}
	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
		complain("%s is met for the first time, with the key %s: check it (latchctl status on the instance) "
			 "and give "
			 "--fingerprint or --accept-new-identity",
			identity->instance, identity->fingerprint);
		return CLI_TRUST;
	}
	(void)fprintf(stderr,
		"%s is met for the first time. Its key is\n  %s\nThe instance's console or latchctl status shows the "
		"same. Pin this key (yes/no)? ",
		identity->instance, identity->fingerprint);
	if (fgets(answer, sizeof(answer), stdin) && strcmp(answer, "yes\n") == 0)
		return CLI_OK;
	complain("not pinned");
	return CLI_TRUST;
}

/* What is pinned must be what the operator expects, too. */
static enum cli_exit check_expected(const struct arguments *arguments, const struct pin *pin)
{
	const char *expected = arguments_option(arguments, "fingerprint");
	char pinned[SSHKEY_FINGERPRINT_SIZE];

	if (!expected || !pin->sign)
		return CLI_OK;
	sshkey_fingerprint(pin->sign_blob, pin->sign_blob_size, pinned);
	if (strcmp(expected, pinned) == 0)
		return CLI_OK;
	complain("%s is pinned with the key %s, not the expected %s", pin->instance, pinned, expected);
	return CLI_TRUST;
}

enum cli_exit pin_check_identity(
	struct cli *cli, const struct arguments *arguments, const struct identity *identity, struct pin *pin)
{
	enum cli_exit r;

	if (strcmp(identity->instance, pin->instance) != 0) {
		complain("the endpoint offers the identity of another instance (%s) for %s", identity->instance,
			pin->instance);
		return CLI_TRUST;
	}
	if (!pin->sign) {
		r = approve(arguments, identity);
		if (r != CLI_OK)
			return r;
		pin->when = cli_now();
	} else if (pin->sign_blob_size != identity->sign.blob_size ||
		   memcmp(pin->sign_blob, identity->sign.blob, pin->sign_blob_size) != 0) {
		char pinned[SSHKEY_FINGERPRINT_SIZE];
		sshkey_fingerprint(pin->sign_blob, pin->sign_blob_size, pinned);
		complain("THE IDENTITY OF %s HAS CHANGED. It was %s and now is %s. Either it was set up anew, or "
			 "somebody "
			 "stands between. If you know that it was, run: latchkey instance forget %s",
			pin->instance, pinned, identity->fingerprint, pin->instance);
		return CLI_TRUST;
	} else if (identity->generation < pin->generation) {
		note("the endpoint offers an older identity of %s (generation %" PRIi64 ", known %" PRIi64
		     "); the known one is used",
			pin->instance, identity->generation, pin->generation);
		return CLI_OK;
	} else if (identity->generation == pin->generation) {
		if (strcmp(identity->box_text, pin->box) == 0)
			return CLI_OK;
		complain("the endpoint offers another box key of %s within generation %" PRIi64 ": not accepted",
			pin->instance, pin->generation);
		return CLI_TRUST;
	}
	r = set_keys(pin, identity);
	return r == CLI_OK ? pin_save(cli, pin) : r;
}

enum cli_exit pin_check(struct cli *cli, const struct arguments *arguments, struct pin *pin)
{
	cleanup_http_answer struct http_answer answer = {0};
	cleanup_identity struct identity identity = {0};
	char path[192];

	enum cli_exit r = check_expected(arguments, pin);
	if (r != CLI_OK)
		return r;
	(void)snprintf(path, sizeof(path), "/instances/%s/identity", pin->instance);
	r = http_exchange(cli, &(struct http_request){.method = "GET", .path = path}, false, &answer);
	if (r != CLI_OK)
		return r;
	if (answer.status == 404) {
		if (pin->sign)
			note("the endpoint has no identity of %s any more; the known one is used", pin->instance);
		return CLI_OK;
	}
	if (answer.status != 200)
		return http_unexpected("identity", &answer);
	enum code code = identity_read(answer.body.bytes, answer.body.size, &identity);
	if (code != CODE_OK) {
		complain("the identity of %s that the endpoint offers is not good: %s", pin->instance, code_name(code));
		return CLI_TRUST;
	}
	return pin_check_identity(cli, arguments, &identity, pin);
}
