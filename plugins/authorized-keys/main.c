/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/bindings.h"

int main(int argc, char **argv)
{
	static const struct plugin plugin = {.name = "authorized-keys", .plan = bindings_plan, .apply = bindings_apply};
	return plugin_main(&plugin, argc, argv);
}
