/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/varlink.h"

#include <errno.h>
#include <string.h>

static int read_flag(const cJSON *value, bool *ret_flag)
{
	if (!cJSON_IsBool(value))
		return -EBADMSG;
	*ret_flag = cJSON_IsTrue(value);
	return 0;
}

static int read_member(const cJSON *member, struct varlink_call *call, bool *upgrade)
{
	if (strcmp(member->string, "method") == 0) {
		if (!cJSON_IsString(member))
			return -EBADMSG;
		call->method = member->valuestring;
		return 0;
	}
	if (strcmp(member->string, "parameters") == 0) {
		if (!cJSON_IsObject(member) && !cJSON_IsNull(member))
			return -EBADMSG;
		call->parameters = cJSON_IsObject(member) ? member : NULL;
		return 0;
	}
	if (strcmp(member->string, "more") == 0)
		return read_flag(member, &call->more);
	if (strcmp(member->string, "oneway") == 0)
		return read_flag(member, &call->oneway);
	if (strcmp(member->string, "upgrade") == 0)
		return read_flag(member, upgrade);
	/* Extensions have reverse-domain names. */
	return strchr(member->string, '.') ? 0 : -EBADMSG;
}

int varlink_parse(const char *text, size_t size, struct varlink_call *ret_call)
{
	cleanup_varlink_call struct varlink_call call = {0};
	const cJSON *member;
	bool upgrade = false;

	int r = json_parse_object_with_null(text, size, &call.root);
	if (r < 0)
		return r;
	cJSON_ArrayForEach(member, call.root)
	{
		r = read_member(member, &call, &upgrade);
		if (r < 0)
			return r;
	}
	if (!call.method || upgrade || (call.more && call.oneway))
		return -EBADMSG;
	const char *dot = strrchr(call.method, '.');
	if (!dot || dot == call.method || dot[1] == '\0' || (size_t)(dot - call.method) > VARLINK_NAME_MAX)
		return -EBADMSG;
	memcpy(call.interface, call.method, (size_t)(dot - call.method));
	call.member = dot + 1;
	*ret_call = call;
	call = (struct varlink_call){0};
	return 0;
}

void varlink_call_free(struct varlink_call *call)
{
	cJSON_Delete(call->root);
	*call = (struct varlink_call){0};
}

void varlink_put_error(struct buffer *out, const char *error, const char *key, const char *value)
{
	struct json_writer writer = {out, false};

	json_begin_object(&writer, NULL);
	json_put_string(&writer, "error", error);
	json_begin_object(&writer, "parameters");
	if (key)
		json_put_string(&writer, key, value);
	json_end_object(&writer);
	json_end_object(&writer);
}

void varlink_begin_reply(struct json_writer *writer)
{
	json_begin_object(writer, NULL);
	json_begin_object(writer, "parameters");
}

void varlink_end_reply(struct json_writer *writer, bool continues)
{
	json_end_object(writer);
	if (continues)
		json_put_bool(writer, "continues", true);
	json_end_object(writer);
}
