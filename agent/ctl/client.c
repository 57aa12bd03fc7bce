/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/client.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

int client_open(const char *path, struct client *ret_client)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const struct timeval timeout = {.tv_sec = CLIENT_TIMEOUT_S};
	cleanup_close int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (descriptor < 0)
		return -errno;
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	if (connect(descriptor, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)
		return -errno;
	*ret_client = (struct client){.descriptor = steal_descriptor(&descriptor)};
	return 0;
}

void client_close(struct client *client)
{
	if (client->descriptor >= 0)
		(void)close(client->descriptor);
	buffer_free(&client->in);
	client->descriptor = -1;
}

int client_send(struct client *client, const char *method, const char *parameters, bool more)
{
	cleanup_buffer struct buffer text = {0};
	struct json_writer writer = {&text, false};

	json_begin_object(&writer, NULL);
	json_put_string(&writer, "method", method);
	if (parameters)
		json_put_raw(&writer, "parameters", parameters);
	if (more)
		json_put_bool(&writer, "more", true);
	json_end_object(&writer);
	buffer_append(&text, "", 1);
	int r = buffer_status(&text);
	if (r < 0)
		return r;
	if (more) {
		const struct timeval for_ever = {0};
		(void)setsockopt(client->descriptor, SOL_SOCKET, SO_RCVTIMEO, &for_ever, sizeof(for_ever));
	}
	for (size_t sent = 0; sent < text.size;) {
		ssize_t n = send(client->descriptor, text.bytes + sent, text.size - sent, MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			sent += (size_t)n;
	}
	return 0;
}

int client_receive(struct client *client, cJSON **ret_reply)
{
	struct buffer *in = &client->in;
	size_t scanned = 0;

	for (;;) {
		const char *end = in->size > scanned ? memchr(in->bytes + scanned, '\0', in->size - scanned) : NULL;
		if (end) {
			size_t size = (size_t)(end - in->bytes);
			int r = json_parse_object(in->bytes, size, ret_reply);
			memmove(in->bytes, in->bytes + size + 1, in->size - size - 1);
			in->size -= size + 1;
			return r;
		}
		char bytes[16384];
		scanned = in->size;
		ssize_t n = recv(client->descriptor, bytes, sizeof(bytes), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 ? -ECONNRESET : -errno;
		buffer_append(in, bytes, (size_t)n);
		if (buffer_status(in) < 0)
			return -ENOMEM;
		if (in->size > CLIENT_REPLY_MAX)
			return -EFBIG;
	}
}
