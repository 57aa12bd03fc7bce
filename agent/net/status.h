/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status socket (io.latchkey.Agent, Varlink): reads the view that latchkeyd hands over and answers by the peer's
 * uid. Anyone: GetStatus; a user: the lines with that uid; root: all. Nothing here changes anything.
 */
#pragma once

#include <sys/types.h>

#include "agent/net/net.h"
#include "agent/net/varlink.h"

/* Takes the listening socket over. */
int status_listen(struct net *net, int descriptor) MUST_CHECK;
/* Takes the view's descriptor over; monitors hear of what is new. */
void status_set_view(struct net *net, int descriptor);
void status_free(struct status_server *server);
/* Answers one call; the reply is written into `out` (without the NUL). */
enum varlink_verdict status_call(struct net *net, uid_t uid, const struct varlink_call *call, struct buffer *out);
