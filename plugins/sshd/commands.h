/* SPDX-License-Identifier: Apache-2.0 */
/* The commands, each planned on what the ones before it will have left, and applied one after the other. */
#pragma once

#include "lib/plugin.h"
#include "plugins/sshd/place.h"

/* What the planned commands make of our settings. */
struct outlook {
	enum code code; /* not OK: why nothing can be planned */
	char detail[SSHD_DETAIL_MAX + 1];
	bool unfinished; /* an earlier write was killed before sshd was told */
	struct sshd *sshd;
	struct place place;
	struct settings settings;
};

int outlook_open(const struct plugin_request *request, struct outlook *ret_outlook) MUST_CHECK;
void outlook_close(struct outlook *outlook);
#define cleanup_outlook CLEANUP(outlook_close)

/* All return 0 with the result filled, or a negative errno when nothing sensible can be said. */
int set_plan(const struct plugin_request *request, const struct plugin_command *command, struct outlook *outlook,
	struct plugin_result *result) MUST_CHECK;
int paths_plan(const struct plugin_request *request, const struct plugin_command *command, struct outlook *outlook,
	struct plugin_result *result) MUST_CHECK;
/* Fills in the plan from a change, or ends the command where nothing is to be done. */
int change_plan(const struct settings_change *change, struct outlook *outlook, struct plugin_result *result) MUST_CHECK;
int change_apply(const struct plugin_request *request, const struct plugin_command *command,
	struct plugin_result *result) MUST_CHECK;
int action_plan(
	const struct plugin_request *request, const struct outlook *outlook, struct plugin_result *result) MUST_CHECK;
int action_apply(const struct plugin_request *request, bool restart, struct plugin_result *result) MUST_CHECK;
