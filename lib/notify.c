/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/notify.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "lib/cleanup.h"

void notify_read_environment(struct notify *ret_notify)
{
	const char *path = getenv("NOTIFY_SOCKET"), *watchdog = getenv("WATCHDOG_USEC");

	*ret_notify = (struct notify){0};
	if (path && (path[0] == '/' || path[0] == '@') && strlen(path) < sizeof(ret_notify->socket))
		memcpy(ret_notify->socket, path, strlen(path));
	for (; watchdog && *watchdog >= '0' && *watchdog <= '9' && ret_notify->watchdog_us < UINT64_MAX / 100;
		watchdog++)
		ret_notify->watchdog_us = ret_notify->watchdog_us * 10 + (uint64_t)(*watchdog - '0');
}

void notify_send(const struct notify *notify, const char *state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t size = strlen(notify->socket);
	cleanup_close int descriptor = -1;

	if (size == 0)
		return;
	memcpy(address.sun_path, notify->socket, size);
	if (address.sun_path[0] == '@')
		address.sun_path[0] = '\0';
	descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (descriptor < 0)
		return;
	(void)sendto(descriptor, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&address,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + size));
}
