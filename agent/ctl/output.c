/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/output.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

const char *output_escape(const char *text, char cell[OUTPUT_CELL_MAX])
{
	size_t out = 0;

	for (; *text && out < OUTPUT_CELL_MAX - 5; text++) {
		unsigned char c = (unsigned char)*text;
		if (c >= 0x20 && c < 0x7f)
			cell[out++] = (char)c;
		else
			out += (size_t)snprintf(cell + out, 5, "\\x%02x", c);
	}
	cell[out] = '\0';
	return cell;
}

static const char *text_of(const cJSON *object, const char *name, const char *fallback)
{
	const char *text = fallback;
	return json_get_string(object, name, &text) == 0 ? text : fallback;
}

static int64_t integer_of(const cJSON *object, const char *name)
{
	int64_t integer = 0;
	return json_get_integer(object, name, &integer) == 0 ? integer : 0;
}

static const char *time_of(int64_t seconds, char cell[OUTPUT_CELL_MAX])
{
	time_t when = (time_t)seconds;
	struct tm local;

	if (seconds <= 0 || !localtime_r(&when, &local) ||
		strftime(cell, OUTPUT_CELL_MAX, "%Y-%m-%d %H:%M:%S", &local) == 0)
		return "never";
	return cell;
}

static const char *color_of(const char *health)
{
	if (!isatty(STDOUT_FILENO))
		return "";
	return strcmp(health, "ok") == 0 ? "\033[32m" : strcmp(health, "degraded") == 0 ? "\033[33m" : "\033[31m";
}

void output_status(const cJSON *status)
{
	char cell[OUTPUT_CELL_MAX], other[OUTPUT_CELL_MAX];
	const cJSON *endpoint = NULL, *problems = NULL, *problem;
	const char *health = text_of(status, "health", "unknown");

	(void)!json_get_object(status, "endpoint", &endpoint);
	(void)!json_get_array(status, "problems", &problems);
	(void)printf("Latchkey %s", output_escape(text_of(status, "agent", "?"), cell));
	(void)printf(" on %s\n", output_escape(text_of(status, "instance", "an unnamed instance"), cell));
	(void)printf("    health: %s%s%s\n", color_of(health), output_escape(health, cell),
		isatty(STDOUT_FILENO) ? "\033[0m" : "");
	if (*text_of(status, "identity", ""))
		(void)printf("  identity: %s\n", output_escape(text_of(status, "identity", ""), cell));
	(void)printf("    policy: %s, trust: %s\n", output_escape(text_of(status, "mode", "?"), cell),
		output_escape(text_of(status, "trust", "?"), other));
	const char *state = text_of(endpoint, "state", "none");
	(void)printf("  endpoint: %s", output_escape(state, cell));
	if (strcmp(state, "none") != 0)
		(void)printf(" since %s", time_of(integer_of(endpoint, "since"), cell));
	int64_t code = integer_of(endpoint, "code");
	if (strcmp(state, "files") == 0)
		(void)printf(" (results stay on this machine)");
	else if (code > 0)
		(void)printf(" (last answer %" PRIi64 ")", code);
	(void)printf("\n  document: %" PRIi64 ", verified %s\n", integer_of(status, "seq"),
		time_of(integer_of(status, "verified"), cell));
	(void)printf("   pending: %" PRIi64 "\n", integer_of(status, "pending"));
	cJSON_ArrayForEach(problem, problems)
	{
		(void)printf("   problem: %s: ", output_escape(text_of(problem, "code", "?"), cell));
		(void)printf("%s\n", output_escape(text_of(problem, "detail", ""), cell));
	}
}

void output_banner(const cJSON *status)
{
	char instance[OUTPUT_CELL_MAX], identity[OUTPUT_CELL_MAX], state[OUTPUT_CELL_MAX], health[OUTPUT_CELL_MAX];
	const cJSON *endpoint = NULL;

	(void)!json_get_object(status, "endpoint", &endpoint);
	(void)printf("Latchkey: instance %s, identity %s, endpoint %s, health %s\n",
		output_escape(text_of(status, "instance", "not named"), instance),
		output_escape(text_of(status, "identity", "none yet"), identity),
		output_escape(text_of(endpoint, "state", "none"), state),
		output_escape(text_of(status, "health", "unknown"), health));
}

void output_command(const cJSON *command)
{
	char cell[OUTPUT_CELL_MAX];

	(void)printf("%-19s  ", time_of(integer_of(command, "time"), cell));
	(void)printf("%-16s ", output_escape(text_of(command, "do", "?"), cell));
	(void)printf("%-12s ", output_escape(text_of(command, "user", "-"), cell));
	(void)printf("%-10s ", output_escape(text_of(command, "status", "?"), cell));
	(void)printf("%-18s ", output_escape(text_of(command, "code", "?"), cell));
	(void)printf("%s", output_escape(text_of(command, "signer", ""), cell));
	(void)printf("%s%s", text_of(command, "detail", "")[0] ? "  " : "",
		output_escape(text_of(command, "detail", ""), cell));
	(void)printf("\n");
}

void output_commands(const cJSON *commands)
{
	const cJSON *command;

	(void)printf("%-19s  %-16s %-12s %-10s %-18s %s\n", "TIME", "COMMAND", "USER", "STATUS", "CODE", "SIGNER");
	cJSON_ArrayForEach(command, commands)
	{
		output_command(command);
	}
}

static void put_login(const cJSON *login)
{
	char cell[OUTPUT_CELL_MAX];
	const cJSON *blockers = NULL, *blocker;
	bool can = false;

	(void)!json_get_bool(login, "can", &can);
	(void)!json_get_array(login, "blockers", &blockers);
	if (can) {
		(void)printf("yes");
		return;
	}
	(void)printf("no (");
	cJSON_ArrayForEach(blocker, blockers)
	{
		(void)printf("%s%s", blocker->prev && blocker != blockers->child ? ", " : "",
			cJSON_IsString(blocker) ? output_escape(blocker->valuestring, cell) : "?");
	}
	(void)printf(")");
}

void output_users(const cJSON *users)
{
	char cell[OUTPUT_CELL_MAX];
	const cJSON *user;

	cJSON_ArrayForEach(user, users)
	{
		const cJSON *key = NULL, *password = NULL;
		bool created = false;
		(void)!json_get_object(user, "key", &key);
		(void)!json_get_object(user, "password", &password);
		(void)!json_get_bool(user, "created", &created);
		(void)printf("%s (uid %" PRIi64 "%s", output_escape(text_of(user, "user", "?"), cell),
			integer_of(user, "uid"), created ? ", created by Latchkey" : "");
		(void)printf(", sudo %s)\n", output_escape(text_of(user, "sudo", "none"), cell));
		(void)printf("    login by key: ");
		put_login(key);
		(void)printf("\n    login by password: ");
		put_login(password);
		(void)printf("\n");
	}
}

void output_keys(const cJSON *keys)
{
	char cell[OUTPUT_CELL_MAX];
	const cJSON *key;

	(void)printf("%-12s %-16s %-50s %-9s %-19s %s\n", "USER", "KEY PAIR", "FINGERPRINT", "STATE", "BOUND", "BY");
	cJSON_ArrayForEach(key, keys)
	{
		(void)printf("%-12s ", output_escape(text_of(key, "user", "?"), cell));
		(void)printf("%-16s ", output_escape(text_of(key, "keypair", "?"), cell));
		(void)printf("%-50s ", output_escape(text_of(key, "fingerprint", "?"), cell));
		(void)printf("%-9s ", output_escape(text_of(key, "state", "?"), cell));
		(void)printf("%-19s ", time_of(integer_of(key, "bound"), cell));
		(void)printf("%s\n", output_escape(text_of(key, "signer", ""), cell));
	}
}

void output_keys_used(const cJSON *keys, bool can_tell)
{
	char cell[OUTPUT_CELL_MAX];
	const cJSON *key;

	(void)printf("%-12s %-16s %-50s %-9s %s\n", "USER", "KEY PAIR", "FINGERPRINT", "STATE", "LAST USED");
	cJSON_ArrayForEach(key, keys)
	{
		int64_t used = integer_of(key, "used");
		(void)printf("%-12s ", output_escape(text_of(key, "user", "?"), cell));
		(void)printf("%-16s ", output_escape(text_of(key, "keypair", "?"), cell));
		(void)printf("%-50s ", output_escape(text_of(key, "fingerprint", "?"), cell));
		(void)printf("%-9s ", output_escape(text_of(key, "state", "?"), cell));
		(void)printf("%s\n", used > 0 ? time_of(used, cell) : can_tell ? "not in the journal" : "unknown");
	}
}

void output_json(const cJSON *value)
{
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};

	json_put_value(&writer, NULL, value);
	if (buffer_status(&text) == 0)
		(void)printf("%s\n", text.bytes);
}
