/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/login/keys.h"

#include <errno.h>
#include <string.h>

static void put_list(struct buffer *task, const char *const *list)
{
	for (; list && *list; list++)
		buffer_append(task, *list, strlen(*list) + 1);
	buffer_append(task, "", 1);
}

/* The numbers and flags of a question; the texts and groups follow, each text with its NUL, each list ends with "". */
struct wire {
	uid_t uid;
	int64_t now;
	unsigned rsa_bits, private_count;
	bool strict, names, has_address, has_algorithms, has_fingerprint;
};

static void write_question(const struct key_files_question *question, struct buffer *task)
{
	const struct wire wire = {.uid = question->uid,
		.now = question->now,
		.rsa_bits = question->rsa_bits,
		.private_count = (unsigned)question->private_count,
		.strict = question->strict,
		.names = question->names,
		.has_address = question->address,
		.has_algorithms = question->algorithms,
		.has_fingerprint = question->fingerprint};
	const char *const texts[] = {
		question->root_path, question->home, question->address, question->algorithms, question->fingerprint};

	buffer_append(task, &wire, sizeof(wire));
	if (question->private_count > 0)
		buffer_append(task, question->private_groups, question->private_count * sizeof(gid_t));
	for (unsigned i = 0; i < ELEMENTS(texts); i++)
		buffer_append(task, texts[i] ? texts[i] : "", texts[i] ? strlen(texts[i]) + 1 : 1);
	put_list(task, question->paths);
	put_list(task, question->revoked);
	put_list(task, question->excluded);
	put_list(task, question->added);
}

static const char *take_text(char **at, const char *end)
{
	char *text = *at;
	char *nul = text < end ? memchr(text, '\0', (size_t)(end - text)) : NULL;

	if (nul)
		*at = nul + 1;
	return nul ? text : NULL;
}

static int take_list(char **at, const char *end, const char ***ret_list)
{
	size_t count = 0;
	const char *text;

	for (char *look = *at; (text = take_text(&look, end)) && *text; count++)
		;
	const char **list = calloc(count + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	for (count = 0; (text = take_text(at, end)) && *text; count++)
		list[count] = text;
	*ret_list = list;
	return text ? 0 : -EBADMSG;
}

int keys_serve(char *task, size_t size, int root, struct buffer *output)
{
	cleanup_free const char **paths = NULL, **revoked = NULL, **excluded = NULL, **added = NULL;
	cleanup_free gid_t *groups = NULL;
	const char *texts[5], *end = task + size;
	char *at = task + sizeof(struct wire);
	struct wire wire;

	if (size < sizeof(wire))
		return -EBADMSG;
	memcpy(&wire, task, sizeof(wire));
	if (wire.private_count > (size_t)(end - at) / sizeof(gid_t))
		return -EBADMSG;
	groups = calloc((size_t)wire.private_count + 1, sizeof(*groups));
	if (!groups)
		return -ENOMEM;
	memcpy(groups, at, wire.private_count * sizeof(gid_t));
	at += wire.private_count * sizeof(gid_t);
	for (unsigned i = 0; i < ELEMENTS(texts); i++) {
		texts[i] = take_text(&at, end);
		if (!texts[i])
			return -EBADMSG;
	}
	int r = take_list(&at, end, &paths);
	if (r == 0)
		r = take_list(&at, end, &revoked);
	if (r == 0)
		r = take_list(&at, end, &excluded);
	if (r == 0)
		r = take_list(&at, end, &added);
	if (r < 0)
		return r;
	const struct key_files_question question = {.root = root,
		.root_path = texts[0],
		.home = texts[1],
		.uid = wire.uid,
		.paths = (const char *const *)paths,
		.strict = wire.strict,
		.private_groups = groups,
		.private_count = wire.private_count,
		.now = wire.now,
		.address = wire.has_address ? texts[2] : NULL,
		.names = wire.names,
		.algorithms = wire.has_algorithms ? texts[3] : NULL,
		.rsa_bits = wire.rsa_bits,
		.revoked = (const char *const *)revoked,
		.excluded = (const char *const *)excluded,
		.added = (const char *const *)added,
		.fingerprint = wire.has_fingerprint ? texts[4] : NULL};
	struct key_files_answer answer;
	r = key_files_look(&question, &answer);
	if (r == 0)
		buffer_append(output, &answer, sizeof(answer));
	return r;
}

int keys_start(const struct user_spawner *spawner, const struct user_identity *identity,
	const struct key_files_question *question, struct user_spawned *ret_child)
{
	cleanup_buffer struct buffer bytes = {0};
	const struct user_task task = {.name = "login:look",
		.identity = *identity,
		.timeout_ms = USER_CHILD_TIMEOUT_MS,
		.bytes = &bytes,
		.root = question->root};

	write_question(question, &bytes);
	int r = buffer_status(&bytes);
	return r < 0 ? r : user_spawner_start(spawner, &task, ret_child);
}

int keys_finish(struct user_spawned *child, struct key_files_answer *ret_answer)
{
	cleanup_buffer struct buffer output = {0};

	int r = user_spawned_finish(child, sizeof(*ret_answer), &output);
	if (r < 0)
		return r;
	if (output.size != sizeof(*ret_answer))
		return -EBADMSG;
	memcpy(ret_answer, output.bytes, sizeof(*ret_answer));
	ret_answer->unsafe_path[sizeof(ret_answer->unsafe_path) - 1] = '\0'; /* the child belongs to the user */
	return 0;
}
