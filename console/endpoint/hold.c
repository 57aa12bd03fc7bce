/* SPDX-License-Identifier: Apache-2.0 */
#include "console/endpoint/hold.h"

#include <errno.h>
#include <microhttpd.h>
#include <string.h>
#include <sys/epoll.h>

struct holds {
	int epoll; /* borrowed */
	struct hold *held[HOLD_MAX];
	unsigned count, maximum;
	bool released;
};

int holds_open(int epoll, unsigned maximum, struct holds **ret_holds)
{
	struct holds *holds = calloc(1, sizeof(*holds));
	if (!holds)
		return -ENOMEM;
	holds->epoll = epoll;
	holds->maximum = maximum < HOLD_MAX ? maximum : HOLD_MAX;
	*ret_holds = holds;
	return 0;
}

void holds_close(struct holds **holds)
{
	free(*holds);
	*holds = NULL;
}

int hold_begin(struct holds *holds, struct hold *hold)
{
	unsigned same = 0;

	if (holds->count >= holds->maximum)
		return -EUSERS;
	for (unsigned i = 0; i < holds->count; i++)
		same += strcmp(holds->held[i]->instance, hold->instance) == 0 && *hold->instance != '\0';
	if (same >= HOLD_PER_INSTANCE_MAX)
		return -EUSERS;
	const union MHD_ConnectionInfo *connection =
		MHD_get_connection_info(hold->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (!connection)
		return -EIO;
	hold->descriptor = connection->connect_fd;
	struct epoll_event event = {.events = EPOLLRDHUP, .data.ptr = hold};
	if (epoll_ctl(holds->epoll, EPOLL_CTL_ADD, hold->descriptor, &event) < 0)
		return -errno;
	hold->held = true;
	hold->slot = holds->count;
	holds->held[holds->count++] = hold;
	MHD_suspend_connection(hold->connection);
	return 0;
}

static void let_go(struct holds *holds, struct hold *hold)
{
	(void)epoll_ctl(holds->epoll, EPOLL_CTL_DEL, hold->descriptor, NULL);
	holds->held[hold->slot] = holds->held[--holds->count];
	holds->held[hold->slot]->slot = hold->slot;
	hold->held = false;
	holds->released = true;
	MHD_resume_connection(hold->connection);
}

void hold_wake(struct holds *holds, enum hold_topic topic, const char *instance)
{
	for (unsigned i = holds->count; i-- > 0;) {
		if (holds->held[i]->topic == topic && strcmp(holds->held[i]->instance, instance) == 0)
			let_go(holds, holds->held[i]);
	}
}

void hold_client_event(struct holds *holds, struct hold *hold, uint32_t events)
{
	if (!hold->held || (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) == 0)
		return;
	hold->over = true;
	hold->client_gone = true;
	let_go(holds, hold);
}

int64_t hold_expire(struct holds *holds, int64_t now_ms)
{
	int64_t next = -1;

	for (unsigned i = holds->count; i-- > 0;) {
		struct hold *hold = holds->held[i];
		int64_t left = hold->deadline_ms - now_ms;
		if (left <= 0) {
			hold->over = true;
			let_go(holds, hold);
		} else if (next < 0 || left < next) {
			next = left;
		}
	}
	return next;
}

void hold_release_all(struct holds *holds)
{
	while (holds->count > 0) {
		struct hold *hold = holds->held[holds->count - 1];
		hold->over = true;
		let_go(holds, hold);
	}
}

bool hold_take_released(struct holds *holds)
{
	bool released = holds->released;
	holds->released = false;
	return released;
}
