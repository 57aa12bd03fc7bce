/* SPDX-License-Identifier: Apache-2.0 */
/* What latchctl prints: for a person at a terminal, in columns; every text from the agent escaped. */
#pragma once

#include "lib/json.h"

#define OUTPUT_CELL_MAX 512u /* longer texts are cut */

/* Printable ASCII as it is; everything else as \xNN, so that nothing the agent was told moves the cursor. */
const char *output_escape(const char *text, char cell[OUTPUT_CELL_MAX]);
void output_json(const cJSON *value);
void output_status(const cJSON *status);
/* One line for a console at boot: which instance, its identity, whether the endpoint answers. */
void output_banner(const cJSON *status);
void output_commands(const cJSON *commands);
void output_command(const cJSON *command);
void output_users(const cJSON *users);
void output_keys(const cJSON *keys);
/* With the time of the last login; can_tell: the journal could be read. */
void output_keys_used(const cJSON *keys, bool can_tell);
/* OpenMetrics text, for node_exporter's textfile collector (metrics.c). */
void output_metrics(const cJSON *metrics);
