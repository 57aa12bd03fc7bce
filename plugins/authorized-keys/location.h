/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where sshd reads one account's keys, and where a command may put them. `home` is what sshd's configuration names
 * first for him alone; `system` and `runtime` are ours, named by our drop-in beside it.
 */
#pragma once

#include "lib/plugin.h"
#include "lib/sshd_config.h"
#include "plugins/authorized-keys/key_task.h"
#include "plugins/authorized-keys/sharers.h"

#define LOCATION_SYSTEM "/etc/ssh/latchkey_keys"
#define LOCATION_RUNTIME "/run/latchkey/authorized_keys"

struct locations {
	struct key_place places[KEY_PLACES_MAX];
	bool read_by_sshd[KEY_PLACES_MAX];
	unsigned count;
	int home, system, runtime; /* indices; home -1: see code */
	enum code home_code;       /* keys_file_none or shared_file where there is no place for `home` */
	char home_detail[DETAIL_MAX + 1];
	bool has_command;          /* AuthorizedKeysCommand may name any key */
	char note[DETAIL_MAX + 1]; /* what could not be asked of sshd; "" otherwise */
};

/* The sshd may be NULL (not installed): then sshd's built-in default counts. */
int locations_find(const struct plugin_request *request, struct sshd *sshd, struct sharers *sharers,
	const struct account *account, struct locations *ret_locations) MUST_CHECK;
/* The place of that path, added when it is none of them (a path that was right when the plan was made). -EINVAL. */
int locations_add(
	struct locations *locations, const struct account *account, const char *path, unsigned *ret_index) MUST_CHECK;
void locations_free(struct locations *locations);
