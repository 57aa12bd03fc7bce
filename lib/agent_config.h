/* SPDX-License-Identifier: Apache-2.0 */
/* latchkey.conf(5): the one table of its keys, with default, range and help. libc only. */
#pragma once

#include "lib/config.h"

extern const struct config_table agent_config_table;

/* Reads /etc/latchkey/latchkey.conf and its drop-ins below root. Errors as config_load. */
int agent_config_load(int root, struct config *ret_config, char ret_error[CONFIG_ERROR_MAX]) MUST_CHECK;
/* Sets lib/log's level from [log] level. */
void agent_config_set_log_level(const struct config *config);
