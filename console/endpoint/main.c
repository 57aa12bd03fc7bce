/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "console/endpoint/listen.h"
#include "console/endpoint/server.h"
#include "console/endpoint/token.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/program.h"

#define DEFAULT_DATABASE "/var/lib/latchkey-endpoint/endpoint.db"
#define DEFAULT_LISTEN "127.0.0.1:8470"

struct options {
	const char *database, *listen, *allowed_signers;
};

static const char usage[] =
	"usage: latchkey-endpoint [--database FILE] [--listen ADDRESS:PORT] [--allowed-signers FILE] [--verbose]\n"
	"       latchkey-endpoint [--database FILE] token add NAME [--role operator|helpdesk|reader]\n"
	"       latchkey-endpoint [--database FILE] token list\n"
	"       latchkey-endpoint [--database FILE] token delete NAME\n"
	"\n"
	"Hands signed documents to instances and keeps the results that they send back.\n"
	"\n"
	"  --database FILE          SQLite database, made when missing (default " DEFAULT_DATABASE ")\n"
	"  --listen ADDRESS:PORT    where to listen (default " DEFAULT_LISTEN
	"); [ADDRESS]:PORT for IPv6; port 0 takes a\n"
	"                           free one and prints it\n"
	"  --allowed-signers FILE   take only documents that a signer of this file signed\n"
	"  --verbose                log more\n"
	"  --help, --version\n"
	"\n"
	"token add prints the new token, once; only its hash is stored. Roles: reader may read, helpdesk may also put\n"
	"documents, operator (the default) may do everything. See latchkey-endpoint(8).\n";

static int load_signers(const char *path, struct allowed_signers *signers)
{
	cleanup_free char *text = NULL;
	char reason[ALLOWED_SIGNERS_REASON_MAX];
	unsigned line;
	size_t size;

	int r = file_read(AT_FDCWD, path, ALLOWED_SIGNERS_SIZE_MAX, &text, &size);
	if (r < 0) {
		log_error("%s: %s", path, strerror(-r));
		return r;
	}
	r = allowed_signers_parse(text, size, signers, &line, reason);
	if (r < 0)
		log_error("%s:%u: %s", path, line, r == -ENOMEM ? "out of memory" : reason);
	return r;
}

/* The default database's directory is ours to make; another's is the caller's. */
static int open_store(const char *path, struct store **ret_store)
{
	if (strcmp(path, DEFAULT_DATABASE) == 0) {
		cleanup_close int directory = -1;
		int r = file_make_directory(AT_FDCWD, "/var/lib/latchkey-endpoint", 0700, &directory);
		if (r < 0) {
			log_error("/var/lib/latchkey-endpoint: %s", strerror(-r));
			return r;
		}
	}
	return store_open(path, ret_store);
}

static int serve(const struct options *options, struct store *store)
{
	struct server server = {.store = store};
	cleanup_allowed_signers struct allowed_signers signers = {0};
	char text[LISTEN_TEXT_SIZE];
	bool loopback;
	int listening;

	if (options->allowed_signers) {
		if (load_signers(options->allowed_signers, &signers) < 0)
			return EX_CONFIG;
		server.signers = signers;
		server.check_signers = true;
	}
	int r = listen_open(options->listen, &listening, text, &loopback);
	if (r < 0) {
		log_error("cannot listen on %s: %s", options->listen,
			r == -EINVAL ? "not ADDRESS:PORT with a literal address" : strerror(-r));
		return r == -EINVAL ? EX_USAGE : EX_UNAVAILABLE;
	}
	if (!loopback)
		log_warning("listening on %s without TLS: put a TLS proxy in front, or tokens travel in clear", text);
	(void)printf("listening on %s\n", text);
	(void)fflush(stdout);
	r = server_run(&server, listening);
	if (r < 0) {
		log_error("server: %s", strerror(-r));
		return EX_OSERR;
	}
	return EX_OK;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"database", required_argument, NULL, 'd'},
		{"listen", required_argument, NULL, 'l'},
		{"allowed-signers", required_argument, NULL, 's'},
		{"verbose", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	struct options options = {.database = DEFAULT_DATABASE, .listen = DEFAULT_LISTEN};
	cleanup_store struct store *store = NULL;
	int option;

	if (program_begin() < 0 || sodium_init() < 0)
		return EX_OSERR;
	while ((option = getopt_long(argc, argv, "+", long_options, NULL)) != -1) {
		switch (option) {
		case 'd':
			options.database = optarg;
			break;
		case 'l':
			options.listen = optarg;
			break;
		case 's':
			options.allowed_signers = optarg;
			break;
		case 'v':
			log_set_level(LOG_DEBUG);
			break;
		case 'h':
			(void)fputs(usage, stdout);
			return EX_OK;
		case 'V':
			(void)puts("latchkey-endpoint " LATCHKEY_VERSION);
			return EX_OK;
		default:
			(void)fputs("Try: latchkey-endpoint --help\n", stderr);
			return EX_USAGE;
		}
	}
	bool token = optind < argc && strcmp(argv[optind], "token") == 0;
	if (optind < argc && !token) {
		(void)fprintf(stderr, "latchkey-endpoint: unknown argument %s\nTry: latchkey-endpoint --help\n",
			argv[optind]);
		return EX_USAGE;
	}
	if (open_store(options.database, &store) < 0)
		return EX_CANTCREAT;
	if (token)
		return token_command(store, argc - optind - 1, argv + optind + 1, time(NULL));
	return serve(&options, store);
}
