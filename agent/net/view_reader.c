/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/view_reader.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/net/status_server.h"

static int read_view(const struct status_server *server, size_t most, char **ret_text, size_t *ret_size)
{
	struct stat status;

	if (server->view < 0)
		return -ENOENT;
	if (fstat(server->view, &status) < 0)
		return -errno;
	if (status.st_size < 0 || status.st_size > (off_t)VIEW_SIZE_MAX)
		return -EFBIG;
	size_t size = (size_t)status.st_size < most ? (size_t)status.st_size : most;
	cleanup_free char *text = malloc(size + 1);
	if (!text)
		return -ENOMEM;
	ssize_t n = pread(server->view, text, size, 0);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	*ret_text = steal_pointer(&text);
	*ret_size = (size_t)n;
	return 0;
}

int view_read_status(struct status_server *server, cJSON **ret_status)
{
	cleanup_free char *text = NULL;
	size_t size;

	int r = read_view(server, 65536, &text, &size);
	if (r < 0)
		return r;
	const char *newline = memchr(text, '\n', size);
	return newline ? json_parse_object(text, (size_t)(newline - text), ret_status) : -EBADMSG;
}

int view_walk(
	struct status_server *server, const char *type, int (*visit)(const cJSON *line, void *context), void *context)
{
	cleanup_free char *text = NULL;
	char head[64];
	size_t size;

	int r = read_view(server, VIEW_SIZE_MAX, &text, &size);
	if (r < 0)
		return r;
	int length = snprintf(head, sizeof(head), "{\"t\":\"%s\",", type);
	for (size_t offset = 0; offset < size;) {
		const char *newline = memchr(text + offset, '\n', size - offset);
		size_t line_size = newline ? (size_t)(newline - text) - offset : size - offset;
		/* latchkey-apply writes the type first, so other lines need not be parsed. */
		if (line_size > (size_t)length && memcmp(text + offset, head, (size_t)length) == 0) {
			cleanup_json cJSON *line = NULL;
			if (json_parse_object(text + offset, line_size, &line) == 0 && visit(line, context) != 0)
				return 0;
		}
		offset += line_size + 1;
	}
	return 0;
}
