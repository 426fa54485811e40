"""An SMTP server on OpenSSL, by Python's standard library: its answers to STARTTLS are what its words say.

tls_server.py ADDRESS PORT CHAIN.pem KEY.pem RECORD [starttls|wrapper|refuse|silent|broken|inject] [max=1.2]

Appends a line of JSON to RECORD for each message: its envelope, and what it came under.
"""

import json
import socket
import ssl
import sys
import threading

address, port, chain, key, record, mode = sys.argv[1:7]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(chain, key)
if "max=1.2" in sys.argv:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
writing = threading.Lock()


def serve(connection):
    secure = None
    if mode == "wrapper":
        connection = secure = context.wrap_socket(connection, server_side=True)
    lines = connection.makefile("rb")

    def say(text):
        connection.sendall(text.encode() + b"\r\n")

    say("220 tls.test ESMTP")
    sender, recipients, mails = None, [], 0
    while True:
        line = lines.readline()
        if not line:
            return
        word = line.decode("utf-8", "replace").strip()
        verb = word.split(" ", 1)[0].split(":", 1)[0].upper()
        if verb == "EHLO":
            offers = [] if secure or mode in ("silent", "wrapper") else ["STARTTLS"]
            names = ["tls.test", "PIPELINING", "8BITMIME", *offers]
            for name in names[:-1]:
                say("250-" + name)
            say("250 " + names[-1])
        elif verb == "STARTTLS":
            if mode == "refuse":
                say("454 4.7.0 TLS not available")
                continue
            if mode == "inject":
                connection.sendall(b"220 go ahead\r\n250 early\r\n")
                continue
            say("220 go ahead")
            if mode == "broken":
                connection.recv(1)
                connection.sendall(b"this is no TLS\r\n")
                connection.close()
                return
            connection = secure = context.wrap_socket(connection, server_side=True)
            lines = connection.makefile("rb")
        elif verb == "MAIL":
            sender, recipients = word[10:].split(">")[0].lstrip("<"), []
            say("250 2.1.0 Ok")
        elif verb == "RCPT":
            recipients.append(word[8:].split(">")[0].lstrip("<"))
            say("250 2.1.5 Ok")
        elif verb == "DATA":
            say("354 go")
            size = 0
            while True:
                part = lines.readline()
                if part == b".\r\n":
                    break
                size += len(part)
            mails += 1
            with writing, open(record, "a") as out:
                told = {
                    "sender": sender,
                    "recipients": recipients,
                    "bytes": size,
                    "mail": mails,
                    "version": secure.version() if secure else None,
                    "resumed": secure.session_reused if secure else None,
                }
                out.write(json.dumps(told) + "\n")
            say("250 2.0.0 Ok: taken")
        elif verb == "QUIT":
            say("221 2.0.0 Bye")
            return
        else:
            say("250 2.0.0 Ok")


def guarded(connection):
    try:
        serve(connection)
    except (OSError, ssl.SSLError) as error:
        print(f"a connection ended: {error}", file=sys.stderr, flush=True)
    finally:
        connection.close()


listener = socket.create_server((address, int(port)))
print("ready", flush=True)
while True:
    accepted, _ = listener.accept()
    threading.Thread(target=guarded, args=(accepted,), daemon=True).start()
