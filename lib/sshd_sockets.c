/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/sshd_sockets.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "lib/buffer.h"

#define TABLE_MAX (2u << 20) /* /proc/net/tcp has 150 bytes a socket: more than 10,000 that listen */
#define TABLE_STEP 16384u

static bool parse_hex(const char *text, unsigned digits, uint32_t *ret_number)
{
	uint32_t number = 0;

	for (unsigned i = 0; i < digits; i++) {
		char c = text[i];
		if (!isxdigit((unsigned char)c))
			return false;
		number = number << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
	}
	*ret_number = number;
	return true;
}

/* "  0: 0100007F:0016 00000000:0000 0A … inode …"; addresses are 32-bit words in host order. */
static bool parse_row(const char *line, bool is_six, uint16_t port, struct sshd_socket *ret_socket)
{
	unsigned words = is_six ? 4 : 1, digits = words * 8;
	struct sshd_socket socket = {.is_six = is_six, .port = port};
	uint32_t number;

	const char *at = strchr(line, ':');
	if (!at)
		return false;
	at += 1 + strspn(at + 1, " ");
	if (strnlen(at, digits + 1 + 4 + 1) < digits + 6)
		return false;
	for (unsigned i = 0; i < words; i++) {
		if (!parse_hex(at + i * 8, 8, &number))
			return false;
		memcpy(socket.address + i * 4, &number, 4);
	}
	if (at[digits] != ':' || !parse_hex(at + digits + 1, 4, &number) || number != port)
		return false;
	/* The fields after it: remote address, state, queues, timer, retransmits, uid, timeout, inode. */
	at += digits + 5;
	for (unsigned field = 0; field < 8; field++) {
		at += strspn(at, " ");
		if (field == 1 && strncmp(at, "0A ", 3) != 0)
			return false;
		if (field == 7)
			break;
		at += strcspn(at, " ");
	}
	for (; isdigit((unsigned char)*at); at++)
		socket.inode = socket.inode * 10 + (uint64_t)(*at - '0');
	*ret_socket = socket;
	return socket.inode != 0;
}

void sshd_sockets_parse(const char *text, bool is_six, uint16_t port, struct sshd_sockets *sockets)
{
	const char *line = strchr(text, '\n'); /* the first line is the heading */

	while (line && *++line && sockets->count < SSHD_SOCKETS_MAX) {
		char row[512];
		size_t size = strcspn(line, "\n");
		if (size < sizeof(row)) {
			memcpy(row, line, size);
			row[size] = '\0';
			if (parse_row(row, is_six, port, &sockets->sockets[sockets->count]))
				sockets->count++;
		}
		line = line[size] ? line + size : NULL;
	}
}

/* The last whole row is of a socket that does not listen. */
static bool is_past_listeners(const struct buffer *text)
{
	const char *end = memrchr(text->bytes, '\n', text->size);
	const char *row = end ? memrchr(text->bytes, '\n', (size_t)(end - text->bytes)) : NULL;

	if (!row) /* the heading */
		return false;
	/* Number, local address, remote address. */
	for (unsigned field = 0; field < 3; field++) {
		row += 1 + strspn(row + 1, " ");
		row += strcspn(row, " ");
	}
	return strncmp(row, " 0A ", 4) != 0;
}

/* The kernel names those that listen first; behind them there may be a million connections. */
static int read_table(pid_t process, const char *name, char **ret_text)
{
	cleanup_buffer struct buffer text = {0};
	char path[64], part[TABLE_STEP];
	int r = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/net/%s", (int)process, name);
	cleanup_close int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	if (descriptor < 0)
		return -errno;
	buffer_append(&text, "", 0);
	while (r == 0 && !is_past_listeners(&text)) {
		ssize_t n = read(descriptor, part, sizeof(part));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		buffer_append(&text, part, (size_t)n);
		r = text.size > TABLE_MAX ? -EFBIG : buffer_status(&text);
	}
	if (r < 0)
		return r;
	*ret_text = buffer_steal(&text);
	return *ret_text ? 0 : -ENOMEM;
}

unsigned sshd_sockets_ports(const struct sshd_effective *effective, uint16_t ret_ports[SSHD_SOCKETS_MAX])
{
	unsigned count = 0;

	for (size_t i = 0; i < effective->count && count < SSHD_SOCKETS_MAX; i++) {
		const struct sshd_value *value = &effective->values[i];
		unsigned port = 0;
		bool known = false;
		if (strcmp(value->keyword, "port") != 0 && strcmp(value->keyword, "listenaddress") != 0)
			continue;
		const char *colon = strrchr(value->value, ':'); /* listenaddress has the port behind the last colon */
		for (const char *at = colon ? colon + 1 : value->value; isdigit((unsigned char)*at) && port < 65536;
			at++)
			port = port * 10 + (unsigned)(*at - '0');
		for (unsigned j = 0; j < count; j++)
			known = known || ret_ports[j] == port;
		if (port > 0 && port < 65536 && !known)
			ret_ports[count++] = (uint16_t)port;
	}
	return count;
}

int sshd_sockets_read(pid_t process, const struct sshd_effective *effective, struct sshd_sockets *ret_sockets)
{
	cleanup_free char *four = NULL, *six = NULL;
	struct sshd_sockets sockets = {.count = 0};
	uint16_t ports[SSHD_SOCKETS_MAX];

	int r4 = read_table(process, "tcp", &four), r6 = read_table(process, "tcp6", &six);

	/* One of them may not be there; half an answer is none. */
	if (r4 < 0 && (r4 != -ENOENT || r6 < 0))
		return r4;
	if (r6 < 0 && r6 != -ENOENT)
		return r6;
	unsigned count = sshd_sockets_ports(effective, ports);
	for (unsigned i = 0; i < count; i++) {
		if (four)
			sshd_sockets_parse(four, false, ports[i], &sockets);
		if (six)
			sshd_sockets_parse(six, true, ports[i], &sockets);
	}
	*ret_sockets = sockets;
	return 0;
}

bool sshd_sockets_have_new(const struct sshd_sockets *before, const struct sshd_sockets *now)
{
	for (unsigned i = 0; i < now->count; i++) {
		bool known = false;
		for (unsigned j = 0; j < before->count; j++)
			known = known || before->sockets[j].inode == now->sockets[i].inode;
		if (!known)
			return true;
	}
	return false;
}
