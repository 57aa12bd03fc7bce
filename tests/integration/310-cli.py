#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""latchkey against a real latchkey-endpoint: what the operator's program signs, folds, pins, seals and refuses.

The instance is played by this script with real keys (ssh-keygen signs for it, libsodium opens what is sealed to it), so
that it can also misbehave. Runs the installed programs, or those that LATCHKEY and LATCHKEY_ENDPOINT name."""
import base64
import ctypes
import hashlib
import http.client
import http.server
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time

LATCHKEY = os.environ.get("LATCHKEY", "/usr/bin/latchkey")
ENDPOINT = os.environ.get("LATCHKEY_ENDPOINT", "/usr/sbin/latchkey-endpoint")
work = tempfile.mkdtemp(prefix="latchkey-cli-test.")
home = os.path.join(work, "operator")
sodium = ctypes.CDLL("libsodium.so.23")
sodium.sodium_init()
checks = 0


def check(what, got, expected):
    global checks
    checks += 1
    if got != expected:
        print(f"FAILED {what}: got {got!r}, expected {expected!r}")
        raise SystemExit(1)
    print(f"ok {what}")


def keygen(name, *options):
    path = os.path.join(work, name)
    subprocess.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, *options, "-f", path], check=True)
    return path


def public(path):
    return " ".join(open(path + ".pub").read().split()[:2])


def fingerprint(path):
    return subprocess.run(["/usr/bin/ssh-keygen", "-l", "-f", path + ".pub"], check=True, stdout=subprocess.PIPE,
                          text=True).stdout.split()[1]


def sign(path, namespace, payload):
    text = payload if isinstance(payload, str) else json.dumps(payload) + "\n"
    signature = subprocess.run(["/usr/bin/ssh-keygen", "-q", "-Y", "sign", "-f", path, "-n", namespace],
                               input=text.encode(), check=True, stdout=subprocess.PIPE).stdout
    return text.encode() + signature


def verify(text, allowed, instance):
    """With the real ssh-keygen, as latchkey-protocol(7) says."""
    at = text.index(b"-----BEGIN SSH SIGNATURE-----")
    with open(os.path.join(work, "signature"), "wb") as file:
        file.write(text[at:])
    with open(os.path.join(work, "allowed"), "w") as file:
        file.write(allowed)
    return subprocess.run(["/usr/bin/ssh-keygen", "-q", "-Y", "verify", "-f", os.path.join(work, "allowed"), "-I", instance,
                           "-n", "latchkey-document@1", "-s", os.path.join(work, "signature")], input=text[:at],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def payload_of(text):
    return json.loads(text[:text.index(b"-----BEGIN SSH SIGNATURE-----")])


def run(*arguments, stdin=None, home=home, env=None, descriptor=None, cwd=None):
    """(exit status, standard output, standard error)"""
    pass_fds = ()
    arguments = list(arguments)
    if descriptor is not None:
        read, write = os.pipe()
        os.write(write, descriptor.encode())
        os.close(write)
        arguments = [str(read) if argument == "FD" else argument for argument in arguments]
        pass_fds = (read,)
    done = subprocess.run([LATCHKEY, "--home", home, *arguments], input=stdin, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, pass_fds=pass_fds, env=env or {}, timeout=300, cwd=cwd or work)
    for descriptor in pass_fds:
        os.close(descriptor)
    return done.returncode, done.stdout, done.stderr


def start_endpoint(database):
    process = subprocess.Popen([ENDPOINT, "--database", database, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE,
                               stderr=open(os.path.join(work, "endpoint.log"), "a"), text=True)
    return process, int(process.stdout.readline().strip().rsplit(":", 1)[1])


def token(database, name):
    return subprocess.run([ENDPOINT, "--database", database, "token", "add", name], check=True, stdout=subprocess.PIPE,
                          text=True).stdout.strip()


def ask(port, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, "/latchkey/v1" + path, body=body,
                       headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, response.getheader("ETag"), content


class Instance:
    """Registers, takes documents as they come, and answers each command by a function."""

    def __init__(self, name, port, enrol, answer):
        self.name, self.port, self.answer = name, port, answer
        self.key = keygen("instance." + name)
        self.secret, self.box = ctypes.create_string_buffer(32), ctypes.create_string_buffer(32)
        sodium.crypto_box_keypair(self.box, self.secret)
        self.final, self.documents, self.running = {}, [], True
        status = ask(port, "PUT", f"/instances/{name}/identity", self.identity(1), Latchkey="1", Latchkey_Enrol=enrol)[0]
        assert status == 201, status
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def identity(self, generation, box=None):
        return sign(self.key, "latchkey-identity@1", {
            "v": 1, "instance": self.name, "generation": generation, "sign": public(self.key),
            "box": base64.b64encode(box or self.box.raw).decode(), "host_keys": [], "agent": "1.0.0"})

    def work(self):
        etag = None
        while self.running:
            headers = {"Latchkey": "1", "Prefer": "wait=1", **({"If-None-Match": etag} if etag else {})}
            status, new, text = ask(self.port, "GET", f"/instances/{self.name}/document", **headers)
            if status != 200:
                continue
            etag = new
            self.documents.append(text)
            document = payload_of(text)
            results = []
            for command in document["commands"]:
                if command["id"] not in self.final:
                    answer = self.answer(self, command)
                    if answer is None:
                        continue
                    result = {"id": command["id"], "status": "ok", "code": "ok", "changed": True, "detail": "", **answer}
                    if result["status"] != "pending":
                        self.final[command["id"]] = result
                    results.append(result)
            if results:
                self.post({"v": 1, "instance": self.name, "seq": document["seq"], "digest": "0" * 64, "document": "ok",
                           "agent": "1.0.0", "time": int(time.time()), "results": results, "host_keys": []})

    def post(self, payload, key=None):
        status = ask(self.port, "POST", f"/instances/{self.name}/results",
                     sign(key or self.key, "latchkey-results@1", payload), Latchkey="1")[0]
        return status

    def open(self, sealed):
        blob = base64.b64decode(sealed, validate=True)
        size = len(blob) - 48
        plain = ctypes.create_string_buffer(size)
        assert sodium.crypto_box_seal_open(plain, blob, ctypes.c_ulonglong(len(blob)), self.box, self.secret) == 0
        assert size % 256 == 0
        return json.loads(plain.raw[:plain.raw.rindex(b"\x80")])

    def stop(self):
        self.running = False
        self.thread.join()


LOGIN = {"alice": {"key": {"can": True, "blockers": []}, "password": {"can": False, "blockers": ["password_auth_off"]}}}
passwords = {}


def obey(instance, command):
    if command["do"] == "password.set":
        opened = instance.open(command["sealed"])
        assert (opened["instance"], opened["id"], opened["user"]) == (instance.name, command["id"], command["user"])
        passwords[command["user"]] = opened.get("password", opened.get("hash"))
    if command["do"] == "password.generate":
        plain = json.dumps({"instance": instance.name, "id": command["id"], "user": command["user"],
                            "password": 'made "by" it\\'}).encode()
        plain += b"\x80" + b"\0" * (-(len(plain) + 1) % 256)
        sealed = ctypes.create_string_buffer(len(plain) + 48)
        sodium.crypto_box_seal(sealed, plain, ctypes.c_ulonglong(len(plain)), base64.b64decode(command["to"]))
        return {"sealed": base64.b64encode(sealed.raw).decode(), "login": LOGIN}
    if command["do"] == "keys.unbind" and command["keypair"] == "web" and not command["accept_lockout"]:
        return {"status": "refused", "code": "would_lock_out", "changed": False, "detail": "nobody else can log in"}
    if command["do"] == "sshd.set" and command.get("confirm_within"):
        return {"status": "pending", "code": "awaiting_confirm", "detail": "goes back at 12:00"}
    if command["do"] == "sshd.confirm":
        return {"status": "ok", "code": "ok"}
    return {"login": LOGIN} if command["do"] == "keys.bind" else {}


def obey_with_defaults(instance, command):
    return obey(instance, {"accept_lockout": False, **command})


def held(instance, command):
    """Keeps user.* pending."""
    if command["do"].startswith("user."):
        return {"status": "pending", "code": "busy", "changed": False, "detail": "the account files are locked"}
    return obey_with_defaults(instance, command)


endpoint = instance = other = malicious = None
try:
    database = os.path.join(work, "db")
    endpoint, port = start_endpoint(database)
    secret = token(database, "op")

    # usage
    check("no command: 2", run()[0], 2)
    check("unknown command: 2", run("nothing")[0], 2)
    check("help: 0", run("--help")[0], 0)
    check("version", run("--version")[:2], (0, "latchkey 1.0.0\n"))
    check("before init: 6, and says so", (run("status")[0], "latchkey init" in run("status")[2]), (6, True))
    check("init without endpoint: 2", run("init")[0], 2)
    check("init with a bad URL: 2", run("init", "--endpoint", "ftp://x", "--token-fd", "FD", descriptor="x")[0], 2)

    # init
    status, line, errors = run("init", "--endpoint", f"http://127.0.0.1:{port}/", "--token-fd", "FD", "--name",
                               "alice@example.com", descriptor=secret + "\n")
    check("init", (status, line.startswith('* namespaces="latchkey-document@1" ssh-ed25519 '), line.split()[-1]),
          (0, True, "alice@example.com"))
    check("init again keeps the key", run("init", "--endpoint", f"http://127.0.0.1:{port}", "--token-fd", "FD", "--name",
                                          "alice@example.com", descriptor=secret)[1], line)
    check("init --json is JSON", json.loads(run("init", "--json", "--endpoint", f"http://127.0.0.1:{port}", "--token-fd", "FD", "--name",
                                                "alice@example.com", descriptor=secret)[1]), {"allowed_signers": line})
    check("the state is private", [name for name in os.listdir(home) if name != "keypairs" and
                                   os.stat(os.path.join(home, name)).st_mode & 0o077], [])
    check("ssh-keygen reads the key", subprocess.run(
        ["/usr/bin/ssh-keygen", "-y", "-f", os.path.join(home, "signing_key")], stdout=subprocess.PIPE, text=True)
          .stdout.split()[1], line.split()[3])
    check("an endpoint that is not there: 3", run("init", "--endpoint", "http://127.0.0.1:1", "--token-fd", "FD",
                                                  descriptor="x", home=os.path.join(work, "nobody"))[0] or
          run("status", home=os.path.join(work, "nobody"))[0], 3)

    # instances
    status, enrol, _ = run("instance", "add", "i-1")
    check("instance add", (status, len(enrol.strip())), (0, 43))
    check("twice: 3", run("instance", "add", "i-1")[0], 3)
    check("bad id: 2", run("instance", "add", "i 1")[0], 2)
    check("not met yet", run("instance", "list")[:2], (0, "i-1\tnot met yet\n"))

    # key pairs
    status, shown, errors = run("keypair", "create", "web", cwd=work)
    private = os.path.join(work, "web")
    check("keypair create", (status, oct(os.stat(private).st_mode & 0o777)), (0, "0o600"))
    web = subprocess.run(["/usr/bin/ssh-keygen", "-y", "-f", private], stdout=subprocess.PIPE, text=True, check=True).stdout
    body = "".join(open(private).read().split("\n")[1:-2])
    stored = "".join(open(os.path.join(root, name)).read() for root, _, names in os.walk(home) for name in names)
    check("the private key is not kept", body in stored.replace("\n", ""), False)
    check("the public one is", web.split()[1] in stored, True)
    kept = open(private).read()
    check("the label is taken: 2", run("keypair", "create", "web", "--output", os.path.join(work, "again"))[0], 2)
    check("and no private key is left of it", os.path.exists(os.path.join(work, "again")), False)
    check("an existing file is not overwritten: 6", (run("keypair", "create", "web", "--replace")[0],
                                                     open(private).read() == kept), (6, True))
    check("and the pair stands", web.split()[1] in open(os.path.join(home, "keypairs", "web.pub")).read(), True)
    status, shown, _ = run("keypair", "create", "shown", "--output", "-")
    check("shown once", shown.startswith("-----BEGIN OPENSSH PRIVATE KEY-----\n"), True)
    for what, text, words in (("a private key", open(private).read(), "private key"),
                              ("options", 'command="id" ' + web, "options"), ("two keys", web + web, "more than one line"),
                              ("nothing", "", "empty")):
        status, _, errors = run("keypair", "import", "bad", "-", stdin=text)
        check(f"import of {what}: 2, with a reason", (status, words in errors), (2, True))
    check("import", run("keypair", "import", "two", "-", stdin=public(keygen("two")) + " a comment\n")[0], 0)
    check("list", [row.split()[0] for row in run("keypair", "list")[1].splitlines()], ["shown", "two", "web"])
    check("delete of an unbound pair", run("keypair", "delete", "shown")[0], 0)

    # the first change, before the instance has registered: it is signed as ssh-keygen verifies
    status, _, errors = run("user", "add", "i-1", "alice", "--groups", "dev,ops", "--sudo", "password", "--gecos", "A B",
                            "--no-wait")
    check("sent", status, 0)
    text = ask(port, "GET", "/instances/i-1/document", Latchkey="1")[2]
    check("ssh-keygen accepts it", (verify(text, line, "i-1"), verify(text[:5] + b" " + text[5:], line, "i-1")), (True, False))
    document = payload_of(text)
    first = document["commands"][0]
    check("as the interface says", (document["v"], document["instance"], document["seq"], document["actor"],
                                    document["expires"] - document["issued"]), (1, "i-1", 1, "alice@example.com", 86400))
    check("the fields as given", {name: first[name] for name in first if name != "id"},
          {"do": "user.ensure", "user": "alice", "groups": ["dev", "ops"], "sudo": "password", "gecos": "A B"})
    check("128 random bits", len(first["id"]), 32)
    for what, arguments in (("name", ("user", "add", "i-1", "Alice")), ("uid", ("user", "add", "i-1", "a", "--uid", "1")),
                            ("sudo", ("user", "add", "i-1", "a", "--sudo", "maybe")),
                            ("unknown option", ("user", "add", "i-1", "a", "--shel", "/bin/sh")),
                            ("unknown pair", ("bind", "i-1", "alice", "nothing")),
                            ("nothing to set", ("sshd", "set", "i-1")), ("address", ("bind", "i-1", "a", "web", "--from", "x")),
                            ("day", ("bind", "i-1", "alice", "web", "--expires", "2027-02-31Z")),
                            ("too long", ("user", "add", "i-1", "a", "--valid", "8d")),
                            ("field of another command", ("reset-password", "i-1", "a", "--length", "20"))):
        check(f"bad {what}: 2", run(*arguments, "--no-wait")[0], 2)
    check("and nothing was sent", payload_of(ask(port, "GET", "/instances/i-1/document", Latchkey="1")[2])["seq"], 1)
    check("a password needs a registered instance: 1", run("reset-password", "i-1", "alice", "--password-fd", "FD",
                                                           descriptor="Secret-123")[0], 1)

    # the instance registers; the first meeting is the operator's to approve
    instance = Instance("i-1", port, enrol.strip(), held)
    status, _, errors = run("bind", "i-1", "alice", "web")
    check("met for the first time, not asked: 4, and the fingerprint is shown",
          (status, fingerprint(instance.key) in errors), (4, True))
    check("another fingerprint: 4", run("bind", "i-1", "alice", "web", "--fingerprint", "SHA256:x")[0], 4)
    status, shown, errors = run("bind", "i-1", "alice", "web", "--fingerprint", fingerprint(instance.key),
                                "--expires", "+30d", "--from", "10.0.0.0/8,192.0.2.1")
    check("bound, and says who can log in", (status, shown.startswith("ok: keys.bind alice web"),
                                             "alice: login by key works; login by password does not work (password_auth_off)"
                                             in shown), (0, True, True))
    document = payload_of(instance.documents[-1])
    check("P101 what pends was folded in, with its own end", [
        (command["do"], command.get("until"), command.get("actor")) for command in document["commands"]],
        [("user.ensure", first and payload_of(text)["expires"], "alice@example.com"), ("keys.bind", None, None)])
    check("and listed before it was signed", "signing again, still pending: user.ensure alice" in errors, True)
    check("the key is in it", document["commands"][1]["key"].split()[:2], web.split()[:2])
    check("from is a list", document["commands"][1]["from"], ["10.0.0.0/8", "192.0.2.1"])

    # a change of the same fact takes the place of the pending one; a final result closes
    status, _, errors = run("user", "add", "i-1", "alice", "--gecos", "C", "--timeout", "2")
    check("no result in time: 5", status, 5)
    document = payload_of(instance.documents[-1])
    check("superseded, closed and new", [(command["do"], command.get("gecos")) for command in document["commands"]],
          [("user.ensure", "C")])
    check("it says so", "replaced by this change: user.ensure alice" in errors, True)
    instance.answer = obey_with_defaults
    instance.final[document["commands"][0]["id"]] = {}
    check("results", run("results", "i-1", "--all")[0], 0)

    # passwords
    status, shown, errors = run("reset-password", "i-1", "alice", "--password-fd", "FD", "--must-change",
                                descriptor=' Tr"ick\\y p\u00e4ss \n')
    check("reset", (status, passwords.get("alice")), (0, ' Tr"ick\\y p\u00e4ss '))
    check("P60 it is nowhere in what was sent or kept", [name for name, content in (
        ("document", instance.documents[-1].decode()), ("output", shown + errors),
        ("state", "".join(open(os.path.join(root, name)).read() for root, _, names in os.walk(home) for name in names)))
        if "ick" in content], [])
    check("sealed only", "password" in payload_of(instance.documents[-1])["commands"][-1], False)
    check("sealed hash", (run("reset-password", "i-1", "bob", "--hash", "--password-fd", "FD",
                              descriptor="$y$j9T$x$y")[0], passwords.get("bob")), (0, "$y$j9T$x$y"))
    status, shown, _ = run("reset-password", "i-1", "alice", "--generate", "--length", "24")
    check("generated", (status, shown.splitlines()[-1]), (0, 'made "by" it\\'))
    status, shown, _ = run("--json", "reset-password", "i-1", "alice", "--generate")
    check("generated, JSON", (status, json.loads(shown.splitlines()[-1])), (0, {"password": 'made "by" it\\'}))
    check("control characters: 2", run("reset-password", "i-1", "alice", "--password-fd", "FD", descriptor="a\tb")[0], 2)
    check("empty: 2", run("reset-password", "i-1", "alice", "--password-fd", "FD", descriptor="\n")[0], 2)

    # a bound pair is not deleted
    check("bound: 1", run("keypair", "delete", "web")[0], 1)
    status, shown, _ = run("unbind", "i-1", "alice", "web")
    check("refused: 1, with its code", (status, "refused would_lock_out: keys.unbind alice web" in shown), (1, True))
    check("still bound: 1", run("keypair", "delete", "web")[0], 1)
    check("bind two", run("bind", "i-1", "alice", "two")[0], 0)
    check("unbind", run("unbind", "i-1", "alice", "web", "--accept-lockout")[0], 0)
    check("no more bound", run("keypair", "delete", "web")[0], 0)
    new = public(keygen("new"))
    check("replace", run("keypair", "import", "two", "-", "--replace", stdin=new)[0], 0)
    check("rebind", run("rebind", "i-1", "alice", "two")[0], 0)
    command = payload_of(instance.documents[-1])["commands"][-1]
    check("is keys.replace", (command["do"], command["key"]), ("keys.replace", new))

    # sshd
    status, shown, _ = run("sshd", "set", "i-1", "--password-auth=false")
    command = payload_of(instance.documents[-1])["commands"][-1]
    check("restricting asks to be confirmed", (status, command["password_auth"], command["confirm_within"],
                                               f"latchkey sshd confirm i-1 {command['id']}" in shown), (0, False, 600, True))
    check("confirm finds it", run("sshd", "confirm", "i-1")[0], 0)
    check("by its id", payload_of(instance.documents[-1])["commands"][-1]["confirms"], command["id"])
    check("relaxing does not", run("sshd", "set", "i-1", "--pubkey-auth", "--confirm-within", "0")[0], 0)
    check("JSON", json.loads(run("--json", "diagnose", "i-1", "alice")[1])["code"], "ok")
    status, shown, _ = run("--json", "status", "i-1")
    check("status", (status, json.loads(shown)["registered"], json.loads(shown)["fingerprint"]),
          (0, True, fingerprint(instance.key)))
    check("two at once", sorted(thread_result[0] for thread_result in (lambda results: [
        [thread.start() for thread in results["threads"]], [thread.join() for thread in results["threads"]],
        results["done"]][2])((lambda done: {"done": done, "threads": [threading.Thread(
            target=lambda user=user: done.append(run("user", "add", "i-1", user))) for user in ("u1", "u2", "u3")]})([]))),
          [0, 0, 0])

    # another operator's machine: he sees the same instance, and folds nothing that he does not trust
    second = os.path.join(work, "second")
    other_key = keygen("other-operator")
    status, second_line, _ = run("init", "--endpoint", f"http://127.0.0.1:{port}", "--token-fd", "FD", "--name", "eve",
                                 "--signing-key", other_key, descriptor=secret, home=second)
    check("init with an own key", (status, public(other_key) in second_line), (0, True))
    status, _, errors = run("user", "add", "i-1", "u4", "--accept-new-identity", "--no-wait", home=second)
    check("P101 a document by a signer that he does not list: 4", (status, "signer_unknown" in errors), (4, True))
    with open(os.path.join(second, "allowed_signers"), "a") as allowed:
        allowed.write(line)
    check("listed: 0", run("user", "add", "i-1", "u4", "--no-wait", home=second)[0], 0)
    status, _, errors = run("user", "add", "i-1", "u5", "--no-wait")
    check("and the other way round: 4", (status, "signer_unknown" in errors), (4, True))
    check("--discard-pending goes on", run("user", "add", "i-1", "u5", "--no-wait", "--discard-pending")[0], 0)
    with open(os.path.join(home, "allowed_signers"), "a") as allowed:
        allowed.write(second_line)
    instance.answer = held
    waits = []
    thread = threading.Thread(target=lambda: waits.append(run("user", "add", "i-1", "u8", "--gecos", "A", "--timeout", "6")))
    thread.start()
    time.sleep(2)
    check("the other replaces it", run("user", "add", "i-1", "u8", "--gecos", "B", "--no-wait", home=second)[0], 0)
    thread.join()
    check("the first is told: 5", (waits[0][0], "stands no more" in waits[0][2]), (5, True))
    status, _, errors = run("user", "add", "i-1", "u9", "--timeout", "2")
    check("else it stands", (status, "the command stands, and" in errors), (5, True))
    instance.answer = obey_with_defaults
    seq = payload_of(ask(port, "GET", "/instances/i-1/document", Latchkey="1")[2])["seq"]
    check("above the other's number is refused by the endpoint otherwise", seq > 1, True)

    # an agent's key: the file beside it is only the public half
    agent = subprocess.run(["/usr/bin/ssh-agent", "-s"], stdout=subprocess.PIPE, text=True, check=True).stdout
    agent = {part.split("=")[0]: part.split("=")[1] for part in agent.replace("\n", ";").split(";") if "=" in part}
    try:
        hidden = keygen("in-agent")
        subprocess.run(["/usr/bin/ssh-add", "-q", hidden], check=True, env=agent, stderr=subprocess.DEVNULL)
        os.unlink(hidden)
        third = os.path.join(work, "third")
        status, third_line, _ = run("init", "--endpoint", f"http://127.0.0.1:{port}", "--token-fd", "FD", "--name", "carol",
                                    "--signing-key", hidden + ".pub", descriptor=secret, home=third)
        check("init with an agent's key", status, 0)
        run("instance", "add", "i-3")
        check("it signs", run("user", "add", "i-3", "u", "--no-wait", home=third,
                              env={"SSH_AUTH_SOCK": agent["SSH_AUTH_SOCK"]})[0], 0)
        text = ask(port, "GET", "/instances/i-3/document", Latchkey="1")[2]
        check("and verifies", verify(text, third_line, "i-3"), True)
        check("without the agent: 6", run("user", "add", "i-3", "v", "--no-wait", home=third)[0], 6)
    finally:
        os.kill(int(agent["SSH_AGENT_PID"]), 15)

    # an instance whose clock is behind takes it over later
    def is_early(instance, _):
        digest = hashlib.sha256(instance.documents[-1].split(b"-----BEGIN")[0]).hexdigest()
        instance.post({"v": 1, "instance": "i-1", "digest": digest, "document": "not_yet_valid", "agent": "1", "time": 1, "detail": "",
                       "results": [], "host_keys": []})

    instance.answer = is_early
    status, _, errors = run("user", "add", "i-1", "early", "--discard-pending")
    check("not yet valid is no end: 5", (status, "its clock is behind" in errors), (5, True))
    instance.answer = obey_with_defaults

    # reset: a new secret, and the new identity is met for the first time
    instance.stop()
    status, enrol, _ = run("instance", "reset", "i-1")
    check("reset", (status, len(enrol.strip())), (0, 43))
    os.rename(instance.key, instance.key + ".old")
    os.rename(instance.key + ".pub", instance.key + ".old.pub")
    instance = Instance("i-1", port, enrol.strip(), obey_with_defaults)
    check("met again, not asked: 4", run("status", "i-1")[0], 4)
    check("the other operator is warned: 4", "HAS CHANGED" in run("status", "i-1", home=second)[2], True)
    check("accepted", run("user", "add", "i-1", "u6", "--accept-new-identity")[0], 0)
    instance.stop()

    # P101: a malicious endpoint in front of the real one
    class Malicious(http.server.BaseHTTPRequestHandler):
        answers = {}

        def do(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            for end, answer in self.answers.items():
                if self.path.split("?")[0].endswith(end) and self.command == "GET":
                    answer = answer(self) if callable(answer) else answer
                    status, content = answer if isinstance(answer, tuple) else (200, answer)
                    break
            else:
                status, _, content = ask(port, self.command, self.path[len("/latchkey/v1"):], body or None, **{
                    name: self.headers[name] for name in ("Authorization", "If-Match", "If-None-Match") if self.headers[name]})
            self.send_response(status)
            if status == 302:
                self.send_header("Location", f"http://127.0.0.1:{port}{self.path}")
            if self.command == "GET" and self.path.endswith("/document"):
                self.send_header("ETag", ask(port, "GET", self.path[len("/latchkey/v1"):], Latchkey="1")[1] or '""')
            elif self.command == "GET":
                self.send_header("ETag", '"1"')
            self.send_header("Content-Length", str(len(content)) if status != 204 else "0")
            self.end_headers()
            if status not in (204, 304):
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do

        def log_message(self, *_):
            pass

    malicious = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Malicious)
    threading.Thread(target=malicious.serve_forever, daemon=True).start()
    settings = json.load(open(os.path.join(home, "config")))
    settings["endpoint"] = f"http://127.0.0.1:{malicious.server_port}"
    json.dump(settings, open(os.path.join(home, "config"), "w"))
    check("through it, behaving: 0", run("user", "add", "i-1", "u7", "--no-wait")[0], 0)
    stranger = keygen("stranger")
    good = ask(port, "GET", "/instances/i-1/document", Latchkey="1")[2]

    def seen():
        return payload_of(ask(port, "GET", "/instances/i-1/document", Latchkey="1")[2])

    before = seen()
    swapped_box = instance.identity(1, box=b"b" * 32)
    forged = json.loads(good[:good.index(b"-----BEGIN")])
    forged["seq"] += 1
    forged["commands"].append({"id": "invented", "do": "user.ensure", "user": "mallory"})
    fake_result = {"v": 1, "instance": "i-1", "seq": before["seq"], "digest": "0" * 64, "document": "ok", "agent": "1",
                   "time": 1, "results": [{"id": before["commands"][-1]["id"], "status": "ok", "code": "ok",
                                           "changed": True, "detail": ""}], "host_keys": []}
    old = instance.documents[0]
    for what, answers, expected, words in (
            ("P101 a box swapped within the generation", {"/identity": swapped_box}, 4, "box"),
            ("P101 an identity of another key", {"/identity": sign(stranger, "latchkey-identity@1", {
                "v": 1, "instance": "i-1", "generation": 9, "sign": public(stranger),
                "box": base64.b64encode(b"b" * 32).decode(), "host_keys": [], "agent": "1"})}, 4, "HAS CHANGED"),
            ("P101 a new box not signed by the pinned key", {"/identity": sign(stranger, "latchkey-identity@1", {
                "v": 1, "instance": "i-1", "generation": 9, "sign": public(instance.key),
                "box": base64.b64encode(b"b" * 32).decode(), "host_keys": [], "agent": "1"})}, 4, "signer_unknown"),
            ("P101 an invented pending command", {"/document": sign(stranger, "latchkey-document@1", forged)}, 4,
             "signer_unknown"),
            ("P101 a document changed after signing", {"/document": good.replace(b'"u7"', b'"u8"')}, 4, "signature_invalid"),
            ("P101 an old genuine document", {"/document": old}, 4, "old document"),
            ("P101 a document that was lost", {"/document": (404, b"")}, 4, "lost the document"),
            ("a redirect", {"/identity": (302, b"")}, 3, "302"),
            ("HTML", {"/results": (200, b"<html>sign in</html>")}, 3, "malformed")):
        Malicious.answers = answers
        status, _, errors = run("user", "add", "i-1", "u9", "--no-wait")
        check(f"{what}: {expected}", (status, words in errors), (expected, True))
        check("  and nothing was sent", seen()["seq"], before["seq"])
    Malicious.answers = {"/results": json.dumps({"next": 99, "results": [
        sign(stranger, "latchkey-results@1", fake_result).decode(), "rubbish"]}).encode()}
    check("P101 a forged result closes nothing", (run("user", "add", "i-1", "u9", "--no-wait")[0],
                                                 [command["user"] for command in seen()["commands"]][-2:]), (0, ["u7", "u9"]))
    # once the newest document that was seen has expired, an older one that has not is no way back to its commands
    Malicious.answers = {}
    check("a long document", run("user", "add", "i-1", "u10", "--valid", "7d", "--no-wait")[0], 0)
    long = ask(port, "GET", "/instances/i-1/document", Latchkey="1")[2]
    pins = json.load(open(os.path.join(home, "known_instances")))
    pins["i-1"].update(seq=pins["i-1"]["seq"] + 1, expires=1)
    json.dump(pins, open(os.path.join(home, "known_instances"), "w"))
    Malicious.answers = {"/document": long, "/results": json.dumps({"next": 0, "results": []}).encode()}
    status, _, errors = run("user", "add", "i-1", "u11", "--no-wait")
    check("P101 nothing of an older document is carried on, whenever it ends", (
        status, "nothing of it is carried on" in errors, [command["user"] for command in seen()["commands"]]), (0, True, ["u11"]))
    Malicious.answers = {}

    # nor is a document older that somebody else has signed and this operator has only looked at
    newer = json.loads(json.dumps(seen()))
    newer["seq"] += 1
    Malicious.answers = {"/document": sign(settings["signing_key"], "latchkey-document@1", newer)}
    check("a newer document is read", run("user", "add", "i-1", "u12", "--dry-run", "--no-wait")[0], 1)
    Malicious.answers = {}
    check("P101 and the older one is old from then on", run("user", "add", "i-1", "u12", "--no-wait")[0], 4)
    check("  unless it is discarded", run("user", "add", "i-1", "u12", "--discard-pending", "--no-wait")[0], 0)

    # results without an end, and an endpoint that holds nothing
    asked = []

    def endless(request):
        asked.append(request.path)
        after = int(request.path.rsplit("=", 1)[1])
        return 200, json.dumps({"next": after + 4000, "results": ["x"] * 4000}).encode()

    Malicious.answers = {"/results": endless}
    status, _, errors = run("results", "i-1")
    check("P101 results without an end: 3", (status, "have no end" in errors), (3, True))

    def unheld(request):
        asked.append(request.path)
        return (304, b"") if request.headers["If-None-Match"] else (200, b'{"next":0,"results":[]}')

    def rubbish(request):
        return endless(request) if request.headers["If-None-Match"] else unheld(request)

    def half(request):
        asked.append(request.headers["If-None-Match"])
        return {2: (200, b'{"next":4,"results":["x"]}'), 3: (503, b"")}.get(len(asked), (200, b'{"next":0,"results":[]}'))

    Malicious.answers = {}
    check("sent", run("user", "add", "i-1", "u13", "--no-wait")[0], 0)
    asked.clear()
    Malicious.answers = {"/results": half}
    check("a page that fails: 5", run("results", "i-1", "--wait", "--timeout", "3")[0], 5)
    check("  is asked for again without waiting for more", asked[:4], [None, '"1"', None, None])
    for what, answer in (("one that holds nothing", unheld), ("one that always has rubbish", rubbish)):
        Malicious.answers = {"/results": answer}
        check("sent", run("user", "add", "i-1", "u13", "--no-wait")[0], 0)
        asked.clear()
        check(f"waiting at {what}: 5", run("results", "i-1", "--wait", "--timeout", "3")[0], 5)
        check(f"  which is asked with pauses {len(asked)}", len(asked) < 20, True)
    Malicious.answers = {}

    # what an instance says
    digest = hashlib.sha256(ask(port, "GET", "/instances/i-1/document", Latchkey="1")[2].split(b"-----BEGIN")[0]).hexdigest()
    refused = {"v": 1, "instance": "i-1", "digest": "0" * 64, "document": "expired", "agent": "1", "time": 1, "detail": "",
               "results": [], "host_keys": []}
    instance.post(refused)
    check("P101 the refusal of another document is none of this one", "refused" in run("status", "i-1")[1], False)
    instance.post({**refused, "digest": digest, "document": "\u001b[31mred"})
    status, shown, _ = run("status", "i-1")
    check("a refusal is shown, and moves no terminal", ("was refused" in shown, "\x1b" in shown), (True, False))
    instance.post({**refused, "digest": digest, "document": "ok"})
    instance.post({**refused, "digest": digest, "document": "expired", "time": 2})
    check("P101 what was taken is not refused any more", "refused" in run("status", "i-1")[1], False)
    # more than a fleet's console keeps of one instance: whole lines, and it is said
    for number in range(3):
        instance.post({**refused, "document": "ok", "results": [{**fake_result["results"][0], "id": f"long{number}-{part}", "detail": "x" * 9000}
                                                                for part in range(90)], "time": 3 + number})
    for number in range(3):
        instance.post({**refused, "document": "ok", "results": [{**fake_result["results"][0], "id": f"more{number}-{part}", "detail": "y" * 9000}
                                                                for part in range(90)], "time": 6 + number})
    status, shown, errors = run("--json", "results", "--all", "--targets", "-", stdin="i-1\n")
    check("a flood of results is cut: 6", (status, "of output: cut" in errors), (6, True))
    check("  after a whole line", [line for line in map(json.loads, shown.splitlines()) if "summary" in line][0]["summary"]["failed"], 1)
    check("a binding", run("bind", "i-1", "u1", "two", "--no-wait")[0], 0)
    command = json.load(open(os.path.join(home, "bindings")))["two"][-1]["command"]
    status, enrol, _ = run("instance", "add", "i-4")
    other = Instance("i-4", port, enrol.strip(), held)
    other.stop()
    other.post({**fake_result, "instance": "i-4", "results": [{**fake_result["results"][0], "id": command, "status": "failed"}]})
    check("results of another instance", run("results", "i-4", "--accept-new-identity")[0] in (0, 1), True)
    check("P101 do not settle this one's binding", command in [
        entry.get("command") for entry in json.load(open(os.path.join(home, "bindings")))["two"]], True)
    malicious.shutdown()
    malicious.server_close()
    status, _, errors = run("status", "i-1")
    check("an endpoint that is gone: 3", (status, "cannot be asked" in errors), (3, True))
    print(f"{checks} checks")
finally:
    if instance:
        instance.running = False
    if endpoint:
        endpoint.terminate()
    shutil.rmtree(work, ignore_errors=True)
