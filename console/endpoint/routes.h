/* SPDX-License-Identifier: Apache-2.0 */
/* The table of latchkey-protocol(7): which path and method, who may ask, which function answers. */
#pragma once

#include "console/endpoint/request.h"

enum route_caller {
	ROUTE_AGENT,   /* needs Latchkey: 1 */
	ROUTE_BOTH,    /* that or a token */
	ROUTE_CONSOLE, /* needs a token */
};

struct route {
	const char *method;
	const char *path; /* a component "*" is an instance id */
	enum route_caller caller;
	enum store_role role; /* the least that a token needs */
	void (*handle)(struct request *request, struct answer *answer);
};

/* Finds the route and checks the caller, before any of the body is read: 0, or an answer and -EPERM. */
int route_begin(struct request *request, const char *method, const char *path, struct answer *answer) MUST_CHECK;

void handle_get_document(struct request *request, struct answer *answer);
void handle_put_document(struct request *request, struct answer *answer);
void handle_get_trust(struct request *request, struct answer *answer);
void handle_put_trust(struct request *request, struct answer *answer);
void handle_get_results(struct request *request, struct answer *answer);
void handle_post_results(struct request *request, struct answer *answer);
void handle_get_report(struct request *request, struct answer *answer);
void handle_post_report(struct request *request, struct answer *answer);
void handle_get_identity(struct request *request, struct answer *answer);
void handle_put_identity(struct request *request, struct answer *answer);
void handle_get_instances(struct request *request, struct answer *answer);
void handle_post_instances(struct request *request, struct answer *answer);
void handle_post_reset(struct request *request, struct answer *answer);
