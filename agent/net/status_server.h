/* SPDX-License-Identifier: Apache-2.0 */
/* The status socket's own state; its parts are status_server.c (connections) and view_reader.c. */
#pragma once

#include <sys/types.h>

#include <systemd/sd-event.h>

#include "agent/net/net.h"
#include "agent/net/view_reader.h"
#include "lib/buffer.h"
#include "lib/json.h"

#define CONNECTIONS_MAX 64u
#define CONNECTIONS_ROOT 8u /* more than these for root, so that root always has room */
#define CONNECTIONS_UID 16u
#define OUTPUT_MAX (256u << 10) /* queued for one client that does not read */
#define IDLE_S 30u
#define CALLS_A_TURN 4u /* then others have their turn: one call may read the whole view */

struct connection {
	struct status_server *server;
	struct connection *next;
	int descriptor;
	uid_t uid;
	sd_event_source *source, *idle;
	struct buffer in, out;
	size_t sent;
	bool monitors, ends; /* ends: close when everything is sent */
	bool backlog;        /* whole messages wait in `in` */
};

struct status_server {
	struct net *net;
	sd_event_source *listener;
	int descriptor;
	struct view view;
	struct connection *connections;
	unsigned count;
	char *newest; /* the newest command line that the monitors know */
	bool has_newest;
};

bool status_put_monitor(uid_t uid, const cJSON *line, struct buffer *out);
