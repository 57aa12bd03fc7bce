/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/account/batch.h"

int main(int argc, char **argv)
{
	static const struct plugin plugin = {.name = "account", .plan = batch_plan, .apply = batch_apply};
	return plugin_main(&plugin, argc, argv);
}
