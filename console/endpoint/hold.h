/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Held requests (RFC 7240, Prefer: wait). libmicrohttpd notices neither the time-out nor the death of the client of a
 * suspended connection, so both are watched here: the deadline by the loop, the client by its descriptor in the loop's
 * epoll set. A held request that is let go is asked again by libmicrohttpd, which calls its handler once more.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/cleanup.h"

#define HOLD_MAX 4096u            /* descriptors of one process, with room for the others */
#define HOLD_PER_INSTANCE_MAX 16u /* the agent and a few operators that wait for it */
#define HOLD_WAIT_MAX 600         /* seconds (latchkey-protocol(7)) */

struct MHD_Connection;
struct holds;

/* What a request waits for. */
enum hold_topic { HOLD_DOCUMENT, HOLD_RESULTS };

/* Lives in the request; zeroed at first. */
struct hold {
	struct MHD_Connection *connection;
	int descriptor;
	enum hold_topic topic;
	const char *instance; /* borrowed from the request; "" is the trust document */
	int64_t deadline_ms;
	bool held;
	bool over; /* the deadline passed or the client is gone: answer now */
	bool client_gone;
	unsigned slot;
};

/* At most `maximum` are held, and never more than HOLD_MAX. */
int holds_open(int epoll, unsigned maximum, struct holds **ret_holds) MUST_CHECK;
void holds_close(struct holds **holds);
/* Suspends the connection. -EUSERS when a cap is reached: then answer at once. */
int hold_begin(struct holds *holds, struct hold *hold) MUST_CHECK;
/* Lets go all that wait for this; they are answered in the same turn of the loop. */
void hold_wake(struct holds *holds, enum hold_topic topic, const char *instance);
/* The epoll event of a held client: let go when the client has hung up. */
void hold_client_event(struct holds *holds, struct hold *hold, uint32_t events);
/* Lets go those whose deadline has passed; the time until the next deadline in ms, or -1 when none is held. */
int64_t hold_expire(struct holds *holds, int64_t now_ms);
/* Lets go everything: before the server stops. */
void hold_release_all(struct holds *holds);
/* True once after any was let go: the server must run once more before it sleeps. */
bool hold_take_released(struct holds *holds);
