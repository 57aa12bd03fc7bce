#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A refusal is told, but not for ever: to an endpoint that takes it once, whatever it goes on offering; to one that answers
and does not take it, a number of times. The results of commands are not given up."""
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "rig"))
from machine import Machine, Signer, check, main, payload_of, read, wait_for, write  # noqa: E402

RESULTS = "/var/lib/latchkey/results"


class Endpoint(BaseHTTPRequestHandler):
    """Latches everybody, offers one document to whoever asks, and answers to results as told."""
    document, results_code, identity_code = b"", 204, 200
    posted, asked = [], 0

    def answer(self, code, body=b""):
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path.endswith("/document") and Endpoint.document:
            Endpoint.asked += 1
            return self.answer(200, Endpoint.document)
        return self.answer(404)

    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(Endpoint.identity_code)

    def do_POST(self):
        payload = payload_of(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if not self.path.endswith("/results"):
            return self.answer(404)
        Endpoint.posted.append(payload)
        return self.answer(Endpoint.results_code)

    def log_message(self, *arguments):
        pass


def test():
    machine, ops, stranger = Machine(), Signer(), Signer("/tmp/stranger", "stranger")
    write("/etc/latchkey/allowed_signers", ops.line())
    server = ThreadingHTTPServer(("127.0.0.1", 8470), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def ask_again(times):
        """A latchkey-net that was started again asks at once, and latchkeyd delivers at once."""
        before = Endpoint.asked
        machine.stop("latchkey-net")
        machine.start_net()
        wait_for(lambda: Endpoint.asked >= before + times, "it asks")

    # --- one that takes it ------------------------------------------------------------------------------------------------
    Endpoint.document = stranger.document(1, [])
    machine.start_agent()
    wait_for(lambda: Endpoint.posted, "the refusal is told")
    wait_for(lambda: not os.path.exists(f"{RESULTS}/0"), "it is taken")
    for _ in range(3):
        ask_again(1)
    check(len(Endpoint.posted) == 1 and Endpoint.posted[0]["document"] == "signer_unknown", "the same refusal is told once")
    Endpoint.document = stranger.document(2, [])
    ask_again(1)
    wait_for(lambda: len(Endpoint.posted) == 2, "another document's")
    check(True, "another document's refusal is told as well")

    # --- one that answers, and does not take it ---------------------------------------------------------------------------------
    Endpoint.results_code = 500
    Endpoint.posted.clear()
    Endpoint.document = stranger.document(3, [])
    ask_again(1)
    wait_for(lambda: Endpoint.posted, "it is posted")
    for count in range(2, 9):
        ask_again(1)
        wait_for(lambda: len(Endpoint.posted) >= count, f"and again, for the {count}th time")
    wait_for(lambda: not os.path.exists(f"{RESULTS}/0"), "it is given up")
    # A latchkey-net that is stopped before it could say what was answered has it posted once more.
    told = len(Endpoint.posted)
    check(8 <= told <= 16, f"after eight answers it is given up ({told} posts)")
    for _ in range(3):
        ask_again(1)
    check(len(Endpoint.posted) == told and not os.path.exists(f"{RESULTS}/0"), "  for good, although the document is still offered")

    # --- results of commands are kept ---------------------------------------------------------------------------------------------
    Endpoint.document = ops.document(4, [{"id": "u4", "do": "user.ensure", "user": "alice"}])
    ask_again(1)
    for count in range(told + 1, told + 13):
        wait_for(lambda: len(Endpoint.posted) >= count, "its results are posted")
        ask_again(1)
    check(os.path.exists(f"{RESULTS}/4"), "the results of commands are not given up")

    def refused():
        status = json.loads(read("/run/latchkey/status.json"))
        return "results_refused" in [problem["code"] for problem in status["problems"]], status["health"]
    wait_for(lambda: refused() == (True, "degraded"), "status says that they are not taken")
    Endpoint.results_code = 204
    ask_again(1)
    wait_for(lambda: not os.path.exists(f"{RESULTS}/4"), "they are taken")
    wait_for(lambda: not refused()[0], "and status is content with that")
    check(Endpoint.posted[-1]["results"][0]["id"] == "u4", "  and arrive in the end")

    # --- an identity that is refused: nothing that this machine does arrives, and it says so ------------------------------------
    def problem():
        status = json.loads(read("/run/latchkey/status.json"))
        return next((p["detail"] for p in status["problems"] if p["code"] in ("not_registered", "identity_taken", "identity_refused")), ""), status["health"]
    check(problem() == ("", "ok"), "all is well")
    for code, word in ((403, "does not know this instance"), (409, "another identity"), (400, "refuses this instance")):
        Endpoint.identity_code = code
        ask_again(1)
        wait_for(lambda: word in problem()[0], f"{code}: status says why")
        check(problem()[1] == "degraded", f"P100_ {code}: status says that the identity is refused ({problem()[0]})")
    machine.stop("latchkeyd")
    machine.start_daemon()
    machine.stop("latchkey-net")
    machine.start_net()
    wait_for(lambda: "refuses this" in problem()[0], "and a latchkeyd that was started again too")
    Endpoint.identity_code = 200
    ask_again(1)
    wait_for(lambda: problem() == ("", "ok"), "the problem ends when it is taken")
    check(True, "  until it is taken")
    server.shutdown()


if __name__ == "__main__":
    main(test)
