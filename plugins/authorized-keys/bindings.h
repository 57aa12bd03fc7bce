/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys.bind, keys.replace and keys.unbind: the whole batch at once. Everything of one account is looked at, decided in
 * order (each command sees what those before it did), and written with one write per file.
 */
#pragma once

#include "lib/plugin.h"

int bindings_plan(struct plugin_request *request, struct plugin_result *results);
int bindings_apply(struct plugin_request *request, struct plugin_result *results);
