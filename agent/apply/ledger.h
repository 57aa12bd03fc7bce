/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the plugins' ledgers (plugin/NAME/ledger: JSON lines in the shape of the status socket's User and Key), for
 * the guard and for the view. Metadata, never authority: what a file says is asked of the file.
 */
#pragma once

#include "agent/apply/apply.h"

#define LEDGER_SIZE_MAX (16u << 20)

/* Each line of the plugin's ledger that parses; missing is empty. The callback's non-zero return ends the walk. */
int ledger_walk(const struct apply *apply, const char *plugin, int (*visit)(const cJSON *line, void *context),
	void *context) MUST_CHECK;
