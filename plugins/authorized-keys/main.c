/* SPDX-License-Identifier: Apache-2.0 */
#include "plugins/authorized-keys/bindings.h"
#include "plugins/authorized-keys/key_wire.h"

int main(int argc, char **argv)
{
	static const struct plugin plugin = {
		.name = "authorized-keys", .plan = bindings_plan, .apply = bindings_apply, .as_user = key_wire_serve};
	return plugin_main(&plugin, argc, argv);
}
