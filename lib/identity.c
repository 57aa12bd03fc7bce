/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/identity.h"

#include <errno.h>
#include <string.h>

#include "lib/sshsig.h"

static bool are_host_keys(const cJSON *host_keys)
{
	unsigned count = 0;
	const cJSON *line;

	cJSON_ArrayForEach(line, host_keys)
	{
		cleanup_sshkey struct sshkey key = {0};
		char detail[DETAIL_MAX + 1];
		if (++count > IDENTITY_HOST_KEYS_MAX || !cJSON_IsString(line) ||
			sshkey_parse(line->valuestring, strlen(line->valuestring), &key, detail) != CODE_OK)
			return false;
	}
	return true;
}

static bool is_whole(struct identity *identity)
{
	static const char *const members[] = {"v", "instance", "generation", "sign", "box", "host_keys", "agent", NULL};
	char detail[DETAIL_MAX + 1];
	const char *sign;
	int64_t version;

	if (json_only_members(identity->root, members, NULL) < 0 ||
		json_get_integer(identity->root, "v", &version) < 0 || version != 1 ||
		json_get_string(identity->root, "instance", &identity->instance) < 0 ||
		!field_is_instance(identity->instance) ||
		json_get_integer(identity->root, "generation", &identity->generation) < 0 || identity->generation < 0 ||
		json_get_string(identity->root, "sign", &sign) < 0 ||
		json_get_string(identity->root, "box", &identity->box_text) < 0 ||
		sealed_parse_public_key(identity->box_text, identity->box) < 0 ||
		json_get_string(identity->root, "agent", &identity->agent) < 0 || !field_is_text(identity->agent, 64) ||
		json_get_array(identity->root, "host_keys", &identity->host_keys) < 0 ||
		!are_host_keys(identity->host_keys))
		return false;
	return sshkey_parse(sign, strlen(sign), &identity->sign, detail) == CODE_OK &&
	       identity->sign.family == SSHKEY_ED25519;
}

enum code identity_read(const char *text, size_t size, struct identity *ret_identity)
{
	cleanup_identity struct identity identity = {0};
	struct signed_text parts;

	if (size > IDENTITY_TEXT_MAX)
		return CODE_MALFORMED;
	enum code code = signed_text_split(text, size, &parts);
	if (code != CODE_OK)
		return code;
	/* The key that must have signed stands inside, so this payload alone is read before its signature is checked.
	 */
	int r = json_parse_object(parts.payload.text, parts.payload.size, &identity.root);
	if (r == -ENOMEM)
		return CODE_INTERNAL;
	if (r < 0 || !is_whole(&identity))
		return CODE_MALFORMED;
	code = sshsig_verify_text(text, size, SSHSIG_IDENTITY, identity.sign.blob, identity.sign.blob_size, &parts);
	if (code != CODE_OK)
		return code;
	sshkey_fingerprint(identity.sign.blob, identity.sign.blob_size, identity.fingerprint);
	*ret_identity = identity;
	identity = (struct identity){0};
	return CODE_OK;
}

void identity_free(struct identity *identity)
{
	cJSON_Delete(identity->root);
	sshkey_free(&identity->sign);
	*identity = (struct identity){0};
}
