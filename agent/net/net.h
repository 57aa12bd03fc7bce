/* SPDX-License-Identifier: Apache-2.0 */
/*
 * latchkey-net: uid latchkey, no capabilities. Carries documents up and results down, and answers the status socket. It
 * decides nothing: what it breaks is delayed or withheld, never forged.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <systemd/sd-event.h>

#include "agent/net/files.h"
#include "agent/net/http.h"
#include "agent/net/schedule.h"
#include "lib/config.h"
#include "lib/link.h"

struct status_server;

struct net {
	sd_event *event;
	struct config config;
	const char *url; /* NULL: idle */
	char *enrol;     /* the enrolment secret, or NULL */
	unsigned wait_s;

	int link;
	sd_event_source *link_source;
	bool hello;
	char instance[256];

	struct http *http;   /* where the url is http:, https: or unix: */
	struct files *files; /* where it is file: */
	struct schedule schedule;
	sd_event_source *ask_timer; /* the next document request */
	sd_event_source *trust_timer;
	bool asked_once, was_held, may_hold; /* may_hold: the last request could have been a held one */
	bool doorbell;                       /* one more is asked for; what is under way has until then to end */
	char have_etag[128], sent_etag[128]; /* taken over; handed up and not yet answered */
	bool waits_for_have;

	/* work for the second slot, in this order */
	char *identity, *results, *report;
	size_t identity_size, results_size, report_size;
	uint64_t results_seq;
	bool ask_trust, trust_missed; /* trust_missed: the endpoint did not answer when it was asked for */

	uint32_t endpoint_code; /* as reported last */
	char endpoint_error[256];
	bool endpoint_reported;
	int64_t endpoint_since;

	struct status_server *status;
};

int64_t net_now_ms(void);
uint64_t net_random(void);

/* poll.c: the document loop and the other requests */
int poll_start(struct net *net) MUST_CHECK;
void poll_ask_now(struct net *net);
void poll_have(struct net *net, const char *etag);
void poll_other_work(struct net *net);
/* link_client.c */
int link_client_open(struct net *net) MUST_CHECK;
/* -errno ends the program: latchkeyd is gone, and the service manager starts us again. */
int link_client_send(struct net *net, struct link_message *message, const void *body, size_t size) MUST_CHECK;
