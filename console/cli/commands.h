/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands that are more than one command of the manifests. */
#pragma once

#include "console/cli/arguments.h"

enum cli_exit command_init(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_quickstart(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_instance_add(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_instance_list(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_instance_reset(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_instance_forget(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_keypair_create(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_keypair_import(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_keypair_list(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_keypair_delete(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_bind(struct cli *cli, const struct arguments *arguments); /* and rebind */
enum cli_exit command_unbind(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_user_remove(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_reset_password(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_sshd_set(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_sshd_confirm(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_results(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_status(struct cli *cli, const struct arguments *arguments);
