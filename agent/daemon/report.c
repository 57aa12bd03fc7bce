/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "agent/daemon/daemon.h"
#include "lib/file.h"
#include "lib/log.h"

#define FOLDER "report"
#define NAME "text"

/* The endpoint has no such resource, or does not want this text: the next change or the next day asks anew. */
static bool is_final(uint32_t code)
{
	return (code >= 200 && code < 300) || code == 501 ||
	       (code >= 400 && code < 500 && code != 401 && code != 403 && code != 408 && code != 409 && code != 429);
}

void report_send(struct daemon *daemon)
{
	struct link_message message = {.type = LINK_REPORT};
	cleanup_close int directory = -1, descriptor = -1;
	cleanup_free char *text = NULL;
	struct stat status;
	size_t size;

	if (!daemon->link_ready || !daemon->identified || daemon->report_in_flight || daemon->report_at > daemon_now())
		return;
	daemon->report_at = 0;
	int r = file_open_directory(daemon->run, FOLDER, &directory);
	if (r == 0)
		r = file_open(directory, NAME, &descriptor, &status);
	if (r == -ENOENT)
		return;
	if (r == 0)
		r = file_read_descriptor(descriptor, LINK_BODY_MAX, &text, &size);
	if (r == 0)
		r = link_send_body(daemon->link, &message, text, size);
	if (r < 0) {
		log_error("the report cannot be sent: %s", strerror(-r));
		daemon->report_at = daemon_now() + RETRY_LAST_MS;
		return;
	}
	daemon->report_in_flight = true;
	daemon->report_file = (struct sent_file){status.st_ino, status.st_ctim};
}

void report_done(struct daemon *daemon, uint32_t code)
{
	if (!daemon->report_in_flight)
		return;
	daemon->report_in_flight = false;
	if (!is_final(code)) {
		daemon->report_at = daemon_back_off(&daemon->report_delay);
		if (code == 401)
			peer_offer_identity(daemon);
		log_info("the report is not delivered (%u), tried again later", code);
		return;
	}
	if (code >= 300)
		log_info("the endpoint takes no reports (%u)", code);
	daemon->report_delay = 0;
	/* Another one may have come meanwhile, and a run of changes is one report. */
	daemon->report_at = daemon_now() + REPORT_DISTANCE_MS;
	int r = deliver_remove(daemon->run, FOLDER, NAME, &daemon->report_file);
	if (r < 0 && r != -ENOENT) {
		log_error("the delivered report cannot be removed: %s", strerror(-r));
		daemon->report_at = daemon_now() + RETRY_LAST_MS;
	}
}
