/* SPDX-License-Identifier: Apache-2.0 */
/* latchkey.conf(5): the one table of its keys, with default, range and help. libc only. */
#pragma once

#include "lib/config.h"

extern const struct config_table agent_config_table;

/* True of an http:// URL for which a name must be looked up. */
bool agent_config_is_http_by_name(const char *url);
/*
 * Reads /etc/latchkey/latchkey.conf and its drop-ins below root. Errors as config_load; an endpoint whose documents
 * would be believed without a signature or TLS, found by a name, is one.
 */
int agent_config_load(int root, struct config *ret_config, char ret_error[CONFIG_ERROR_MAX]) MUST_CHECK;
/* Sets lib/log's level from [log] level. */
void agent_config_set_log_level(const struct config *config);
