"""Reads a notice from standard input and checks it against RFC 3464, 6522, 6533 and 3834.

Prints what is wrong, one line each; prints nothing and ends with status 0 when nothing is.
"""

import email
import email.policy
import email.utils
import re
import sys

faults = []


def check(condition, text):
    if not condition:
        faults.append(text)


def fields_of(group):
    """The fields of a group, each at most once, as RFC 3464 section 2.1 wants."""
    names = [name.lower() for name in group.keys()]
    check(len(names) == len(set(names)), f"a field stands twice: {names}")
    return {name.lower(): " ".join(str(value).split()) for name, value in group.items()}


def typed(value, types, text):
    kind, _, rest = value.partition(";")
    check(kind.strip().lower() in types and rest.strip(), f"{text}: {value!r}")
    return rest.strip()


def date(value, text):
    try:
        email.utils.parsedate_to_datetime(value)
    except ValueError:
        faults.append(f"{text}: {value!r}")


notice = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
for part in notice.walk():
    check(not part.defects, f"defects of {part.get_content_type()}: {part.defects}")

plain = "--plain" in sys.argv  # a transcript of a session, which is text
for name in ("from", "to", "subject", "date", "message-id", "mime-version"):
    optional = (name in ("date", "message-id") and "--no-trace" in sys.argv) or (name == "mime-version" and plain)
    check(len(notice.get_all(name, [])) == 1 or optional, f"not one {name} field")
check(notice["auto-submitted"] in ("auto-replied", "auto-generated"), "no Auto-Submitted field")
if plain:
    check(notice.get_content_type() == "text/plain", f"not text: {notice.get_content_type()}")
    check(notice.get_payload().isascii(), "not ASCII")
else:
    check(notice.get_content_type() == "multipart/report", f"not a report: {notice.get_content_type()}")
    check(notice.get_param("report-type") == "delivery-status", "not a report of delivery-status")
parts = notice.get_payload() if notice.is_multipart() else []
check(len(parts) == 3 or plain, f"{len(parts)} parts")

if len(parts) == 3:
    check(parts[0].get_content_type() == "text/plain", "the first part is for people")
    parts[0].get_payload(decode=True).decode(parts[0].get_content_charset())
    utf8 = parts[1].get_content_type() == "message/global-delivery-status"
    check(utf8 or parts[1].get_content_type() == "message/delivery-status", "the second part is the report")
    returned = ("message/global", "message/global-headers") if utf8 else ("message/rfc822", "text/rfc822-headers")
    check(parts[2].get_content_type() in returned, f"the third part: {parts[2].get_content_type()}")

    raw = parts[1].as_bytes().partition(b"\n\n")[2]
    check(utf8 or raw.isascii(), "message/delivery-status is ASCII")
    groups = [
        email.message_from_string(text + "\n", policy=email.policy.compat32)
        for text in raw.decode("utf-8").replace("\r\n", "\n").strip("\n").split("\n\n")
    ]
    check(len(groups) >= 2, "no recipient")
    whole = fields_of(groups[0])
    typed(whole.get("reporting-mta", ""), ("dns",), "Reporting-MTA")
    date(whole.get("arrival-date", ""), "Arrival-Date")

    for group in groups[1:]:
        fields = fields_of(group)
        address = typed(fields.get("final-recipient", ""), ("rfc822", "utf-8"), "Final-Recipient")
        check(utf8 or address.isascii(), "an address that is not ASCII in a plain report")
        if "original-recipient" in fields:
            typed(fields["original-recipient"], ("rfc822", "utf-8"), "Original-Recipient")
        action = fields.get("action", "")
        classes = {"failed": "45", "delayed": "4", "delivered": "2", "relayed": "2", "expanded": "2"}
        check(action in classes, f"Action: {action!r}")
        status = fields.get("status", "")
        check(re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", status), f"Status: {status!r}")
        check(status[:1] in classes.get(action, ""), f"Status {status!r} with Action {action!r}")
        if "remote-mta" in fields:
            typed(fields["remote-mta"], ("dns",), "Remote-MTA")
        if "diagnostic-code" in fields:
            kind = fields["diagnostic-code"].partition(";")[0].lower()
            check(kind == "smtp" or kind.startswith("x-"), f"Diagnostic-Code: {kind!r}")
        if "will-retry-until" in fields:
            check(action == "delayed", "Will-Retry-Until where nothing is retried")
            date(fields["will-retry-until"], "Will-Retry-Until")

for fault in faults:
    print(fault)
sys.exit(1 if faults else 0)
