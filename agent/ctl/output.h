/* SPDX-License-Identifier: Apache-2.0 */
/* What latchctl prints: for a person at a terminal, in columns; every text from the agent escaped. */
#pragma once

#include "lib/json.h"

void output_status(const cJSON *status);
void output_commands(const cJSON *commands);
void output_command(const cJSON *command);
void output_users(const cJSON *users);
void output_keys(const cJSON *keys);
/* OpenMetrics text, for node_exporter's textfile collector. */
void output_metrics(const cJSON *metrics);
