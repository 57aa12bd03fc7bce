/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /run/latchkey/view (0600) and status.json (0644): what is true and why, written whole after every run. The first line
 * of the view is the text of status.json; then one {"t":"command"|"user"|"key",…} a line, with the uid whose it is.
 */
#pragma once

#include "agent/apply/apply.h"
#include "lib/link.h"

/* `endpoint` is latchkey-net's newest word on the endpoint, or NULL: as the last view said. */
int view_write(struct apply *apply, const struct link_message *endpoint) MUST_CHECK;

/* view_status.c: the first line, without a name of a user or a key in it. `old` is the last one's, or NULL. */
int view_put_status(struct apply *apply, const cJSON *old, const struct link_message *endpoint, struct buffer *out,
	int64_t *ret_trust_version) MUST_CHECK;
