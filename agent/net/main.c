/* SPDX-License-Identifier: Apache-2.0 */
/* latchkey-net(8): options, what is opened before anything is parsed, the loop. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>

#include <systemd/sd-daemon.h>

#include "agent/net/net.h"
#include "agent/net/status.h"
#include "lib/agent_config.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/notify.h"
#include "lib/paths.h"
#include "lib/program.h"
#include "lib/sandbox.h"

#define ENROL_MAX 256u
#define FILE_SIZE_MAX (4u << 20) /* bodies travel in memfds of at most 1 MiB */
#define MEMORY_MAX (256u << 20)  /* ten times what TLS with the system's certificates takes */
#define DESCRIPTORS_MAX 128u     /* 72 clients, the link, libcurl's and sd-event's own */

int64_t net_now_ms(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint64_t net_random(void)
{
	uint64_t random = 0;
	(void)!getrandom(&random, sizeof(random), 0);
	return random;
}

static int usage(FILE *out, int code)
{
	(void)fputs("Usage: latchkey-net [--help | --version]\n\n"
		    "The network half of the Latchkey agent: carries documents from the endpoint to latchkeyd(8) and\n"
		    "results back, and answers the status socket. Runs in the foreground as user latchkey with no\n"
		    "capabilities; the service manager starts it. Configuration: latchkey.conf(5).\n",
		out);
	return code;
}

/* The one line of /etc/latchkey/enrol; no file, no header. */
static int read_enrol(struct net *net, int root)
{
	cleanup_close int directory = -1;
	cleanup_free char *text = NULL;
	size_t size;

	int r = file_open_directory(root, "etc/latchkey", &directory);
	if (r == 0)
		r = file_read(directory, "enrol", ENROL_MAX, &text, &size);
	if (r == -ENOENT)
		return 0;
	if (r < 0) {
		log_warning("/etc/latchkey/enrol cannot be read: %s", strerror(-r));
		return 0;
	}
	text[strcspn(text, "\r\n")] = '\0';
	for (const char *at = text; *at; at++) {
		if (*at < 0x21 || *at > 0x7e) {
			log_warning("/etc/latchkey/enrol is not one word: ignored");
			return 0;
		}
	}
	if (text[0])
		net->enrol = steal_pointer(&text);
	return 0;
}

/* Where libcurl has to open files later: for a name (the resolver's), a certificate, a proxy that may be named. */
static enum sandbox_network what_is_needed(const struct net *net)
{
	if (!net->url || strncmp(net->url, "unix:", 5) == 0)
		return SANDBOX_SOCKETS;
	if (net->files)
		return SANDBOX_FILES;
	if (strncmp(net->url, "http://", 7) != 0 || config_text(&net->config, "endpoint", "proxy"))
		return SANDBOX_NAMES;
	return agent_config_is_http_by_name(net->url) ? SANDBOX_NAMES : SANDBOX_SOCKETS;
}

/* What a taken-over latchkey-net could still do with memory and files of its own. */
static int limit(void)
{
	static const struct {
		int resource;
		rlim_t most;
	} limits[] = {{RLIMIT_NOFILE, DESCRIPTORS_MAX}, {RLIMIT_FSIZE, FILE_SIZE_MAX}, {RLIMIT_DATA, MEMORY_MAX}};

	for (unsigned i = 0; i < ELEMENTS(limits); i++) {
		const struct rlimit most = {limits[i].most, limits[i].most};
		if (setrlimit((__rlimit_resource_t)limits[i].resource, &most) < 0)
			return -errno;
	}
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/*
 * The last good one where the operator's is refused: latchkey-apply puts it there. Until it has, at a boot, this
 * program ends and is started again.
 */
static int load_configuration(struct net *net, int root)
{
	char error[CONFIG_ERROR_MAX];
	cleanup_close int run = -1;
	cleanup_free char *text = NULL;
	size_t size;

	int refused = agent_config_load(root, &net->config, error);
	if (refused == 0 || refused == -ENOMEM)
		return refused;
	log_error("latchkey.conf: %s", error);
	if (file_open_directory(root, &PATH_RUN[1], &run) < 0 ||
		file_read(run, NAME_LAST_GOOD, CONFIG_FILE_MAX, &text, &size) < 0)
		return refused;
	int r = config_initialise(&agent_config_table, &net->config);
	if (r == 0)
		r = config_parse(&net->config, NAME_LAST_GOOD, text, size, error);
	if (r == 0)
		log_notice("the last good configuration stays in force");
	return r;
}

static int open_all(struct net *net)
{
	cleanup_close int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	sigset_t set;

	if (root < 0)
		return -errno;
	if (geteuid() == 0) {
		log_error("latchkey-net must not run as root: its service runs it as user latchkey");
		return -EPERM;
	}
	int r = limit();
	if (r < 0)
		return r;
	r = load_configuration(net, root);
	if (r < 0)
		return r;
	agent_config_set_log_level(&net->config);
	net->url = config_text(&net->config, "endpoint", "url");
	net->wait_s = (unsigned)config_integer(&net->config, "endpoint", "wait");
	r = read_enrol(net, root);
	if (r < 0)
		return r;
	schedule_initialise(&net->schedule, config_integer(&net->config, "endpoint", "poll") * 1000, net_now_ms());
	r = sd_event_new(&net->event);
	if (r < 0)
		return r;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	r = sd_event_add_signal(net->event, NULL, SIGTERM, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(net->event, NULL, SIGINT, NULL, NULL);
	if (r < 0)
		return r;
	if (net->url) {
		if (strncmp(net->url, "file:", 5) == 0)
			r = files_new(net->event, net->url, &net->files);
		else
			r = http_new(net->event, net->url, config_text(&net->config, "endpoint", "ca_file"),
				config_text(&net->config, "endpoint", "proxy"), &net->http);
		if (r < 0) {
			log_error("[endpoint] url = %s: %s", net->url,
				r == -EINVAL ? "must begin with http://, https://, unix:/ or file:///" : strerror(-r));
			return r;
		}
	}
	r = link_client_open(net);
	if (r < 0)
		log_error("latchkeyd cannot be reached at its link: %s", strerror(-r));
	return r;
}

int main(int argc, char **argv)
{
	struct net net = {.link = -1};
	struct notify notify;

	notify_read_environment(&notify);
	if (program_begin() < 0)
		return 70;
	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return usage(stdout, 0);
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		(void)printf("latchkey-net %s\n", LATCHKEY_VERSION);
		return 0;
	}
	if (argc != 1)
		return usage(stderr, 64);
	int r = open_all(&net);
	/* From here on, bytes of strangers are parsed. */
	if (r >= 0)
		r = sandbox_enter_network(what_is_needed(&net));
	if (r >= 0) {
		notify_send(&notify, "READY=1");
		r = sd_event_loop(net.event);
	}
	if (r < 0)
		log_error("latchkey-net ends: %s", strerror(-r));
	status_free(net.status);
	http_free(net.http);
	files_free(net.files);
	sd_event_source_disable_unref(net.ask_timer);
	sd_event_source_disable_unref(net.trust_timer);
	sd_event_source_disable_unref(net.link_source);
	sd_event_unref(net.event);
	config_free(&net.config);
	free(net.enrol);
	free(net.identity);
	free(net.results);
	free(net.report);
	if (net.link >= 0)
		(void)close(net.link);
	return r == 0 ? 0 : 1;
}
