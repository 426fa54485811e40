//! The SMTP client.

use crate::config::parameter::{Weakens, parameters};

parameters! {
    BEST_MX_TRANSPORT "best_mx_transport" Text = "", Refused { reason: "mail for a domain whose best server we are is returned as a loop", weakens: Weakens::Never },
        "The transport of mail for domains whose best server is this host.";
    DISABLE_DNS_LOOKUPS "disable_dns_lookups" Bool = "no", Honoured("smtp"),
        "Whether names are looked up without the DNS.";
    DISABLE_MIME_OUTPUT_CONVERSION "disable_mime_output_conversion" Bool = "no", Honoured("smtp"),
        "Whether 8-bit content is left alone for servers that cannot take it.";
    DNS_NCACHE_TTL_FIX_ENABLE "dns_ncache_ttl_fix_enable" Bool = "no", WithoutEffect("the resolver is our own"),
        "Whether negative answers get a time to live from the right record.";
    DNSSEC_PROBE "dnssec_probe" Text = "ns:.", WithoutEffect("DNSSEC is not asked for"),
        "The query that finds out whether DNSSEC works.";
    IGNORE_MX_LOOKUP_ERROR "ignore_mx_lookup_error" Bool = "no", Honoured("smtp"),
        "Whether a domain's address is used when its mail exchangers cannot be looked up.";
    SEND_CYRUS_SASL_AUTHZID "send_cyrus_sasl_authzid" Bool = "no", WithoutEffect("the client does not authenticate yet"),
        "Whether an authorisation id is sent.";
    SMTP_ADDRESS_PREFERENCE "smtp_address_preference" Word("any" "ipv4" "ipv6") = "any", Honoured("smtp"),
        "The version of IP that is tried first.";
    SMTP_ADDRESS_VERIFY_TARGET "smtp_address_verify_target" Text = "rcpt", Refused { reason: "probes end with RCPT", weakens: Weakens::Never },
        "The stage at which a probe ends.";
    SMTP_ALWAYS_SEND_EHLO "smtp_always_send_ehlo" Bool = "yes", WithoutEffect("EHLO is always tried first"),
        "Whether EHLO is sent even to servers whose greeting does not say ESMTP.";
    SMTP_BALANCE_INET_PROTOCOLS "smtp_balance_inet_protocols" Bool = "yes", Honoured("smtp"),
        "Whether both versions of IP stay among the addresses when their number is cut.";
    SMTP_BIND_ADDRESS "smtp_bind_address" Text = "", Honoured("smtp"),
        "The IPv4 address from which connections are made.";
    SMTP_BIND_ADDRESS6 "smtp_bind_address6" Text = "", Honoured("smtp"),
        "The IPv6 address from which connections are made.";
    SMTP_BIND_ADDRESS_ENFORCE "smtp_bind_address_enforce" Bool = "no", Refused { reason: "a connection is never made from another address", weakens: Weakens::Never },
        "Whether mail waits when the address to send from is not available.";
    SMTP_BODY_CHECKS "smtp_body_checks" Maps = "", Honoured("smtp"),
        "Tables of patterns for lines of bodies that are sent.";
    SMTP_CNAME_OVERRIDES_SERVERNAME "smtp_cname_overrides_servername" Bool = "no", WithoutEffect("TLS is not served yet"),
        "Whether an alias changes the server's name.";
    SMTP_CONNECT_TIMEOUT "smtp_connect_timeout" Time(Seconds) = "30s", Honoured("smtp"),
        "The longest wait for a connection; 0 for the system's own limit.";
    SMTP_CONNECTION_CACHE_DESTINATIONS "smtp_connection_cache_destinations" Domains = "", Honoured("smtp"),
        "Destinations whose connections are always kept.";
    SMTP_CONNECTION_CACHE_ON_DEMAND "smtp_connection_cache_on_demand" Bool = "yes", Honoured("smtp"),
        "Whether connections of busy destinations are kept.";
    SMTP_CONNECTION_CACHE_TIME_LIMIT "smtp_connection_cache_time_limit" Time(Seconds) = "2s", Honoured("smtp"),
        "How long an unused connection is kept.";
    SMTP_CONNECTION_REUSE_COUNT_LIMIT "smtp_connection_reuse_count_limit" Int = "0", Honoured("smtp"),
        "How many deliveries one connection carries; 0 for no limit.";
    SMTP_CONNECTION_REUSE_TIME_LIMIT "smtp_connection_reuse_time_limit" Time(Seconds) = "300s", Honoured("smtp"),
        "How long after it was made a connection may be used again.";
    SMTP_DATA_DONE_TIMEOUT "smtp_data_done_timeout" Time(Seconds) = "600s", Honoured("smtp"),
        "The longest wait for the answer to the final dot.";
    SMTP_DATA_INIT_TIMEOUT "smtp_data_init_timeout" Time(Seconds) = "120s", Honoured("smtp"),
        "The longest wait for the answer to DATA.";
    SMTP_DATA_XFER_TIMEOUT "smtp_data_xfer_timeout" Time(Seconds) = "180s", Honoured("smtp"),
        "The longest wait for the server to take a piece of content.";
    SMTP_DEFER_IF_NO_MX_ADDRESS_FOUND "smtp_defer_if_no_mx_address_found" Bool = "no", Honoured("smtp"),
        "Whether mail waits when no mail exchanger has an address.";
    SMTP_DELIVERY_STATUS_FILTER "smtp_delivery_status_filter" Maps = "$default_delivery_status_filter", Refused { reason: "replies of servers are taken as they are", weakens: Weakens::Never },
        "Tables that change the status of deliveries.";
    SMTP_DISCARD_EHLO_KEYWORD_ADDRESS_MAPS "smtp_discard_ehlo_keyword_address_maps" Maps = "", Refused { reason: "keywords are discarded for all servers alike", weakens: Weakens::Never },
        "EHLO keywords of single servers that are ignored.";
    SMTP_DISCARD_EHLO_KEYWORDS "smtp_discard_ehlo_keywords" List = "", Honoured("smtp"),
        "EHLO keywords of servers that are ignored.";
    SMTP_DNS_REPLY_FILTER "smtp_dns_reply_filter" Maps = "", Refused { reason: "answers of the DNS are taken as they are", weakens: Weakens::Never },
        "A table that changes DNS answers.";
    SMTP_DNS_RESOLVER_OPTIONS "smtp_dns_resolver_options" List = "", Refused { reason: "names are always looked up as they are", weakens: Weakens::Never },
        "How the resolver completes names.";
    SMTP_DNS_SUPPORT_LEVEL "smtp_dns_support_level" Text = "", Honoured("smtp"),
        "Whether the DNS is used, and with DNSSEC.";
    SMTP_FALLBACK_RELAY "smtp_fallback_relay" List = "$fallback_relay", Honoured("smtp"),
        "Servers that get mail whose own servers cannot be reached.";
    SMTP_GENERIC_MAPS "smtp_generic_maps" Maps = "", Honoured("smtp"),
        "Tables that change addresses on the way out.";
    SMTP_HEADER_CHECKS "smtp_header_checks" Maps = "", Honoured("smtp"),
        "Tables of patterns for headers that are sent.";
    SMTP_HELO_NAME "smtp_helo_name" Text = "$myhostname", Honoured("smtp"),
        "The name given with HELO and EHLO.";
    SMTP_HELO_TIMEOUT "smtp_helo_timeout" Time(Seconds) = "300s", Honoured("smtp"),
        "The longest wait for the greeting and for the answer to HELO.";
    SMTP_HOST_LOOKUP "smtp_host_lookup" List = "dns", Refused { reason: "names are always looked up in the DNS", weakens: Weakens::Never },
        "How servers' names are looked up.";
    SMTP_LINE_LENGTH_LIMIT "smtp_line_length_limit" Int(0, 1048576) = "998", Honoured("smtp"),
        "The longest line that is sent; longer ones are folded; 0 for no limit.";
    SMTP_MAIL_TIMEOUT "smtp_mail_timeout" Time(Seconds) = "300s", Honoured("smtp"),
        "The longest wait for the answer to MAIL.";
    SMTP_MIME_HEADER_CHECKS "smtp_mime_header_checks" Maps = "", Honoured("smtp"),
        "Tables of patterns for MIME headers that are sent.";
    SMTP_MIN_DATA_RATE "smtp_min_data_rate" Int(1, 2147483647) = "500", Refused { reason: "only the time limit of each wait is kept", weakens: Weakens::Never },
        "The slowest data rate with a deadline for each request, in bytes a second.";
    SMTP_MX_ADDRESS_LIMIT "smtp_mx_address_limit" Int = "5", Honoured("smtp"),
        "The most addresses of one destination that are tried; 0 for no limit.";
    SMTP_MX_SESSION_LIMIT "smtp_mx_session_limit" Int = "2", Honoured("smtp"),
        "The most sessions with one destination's servers in one attempt; 0 for no limit.";
    SMTP_NESTED_HEADER_CHECKS "smtp_nested_header_checks" Maps = "", Honoured("smtp"),
        "Tables of patterns for headers of attached messages that are sent.";
    SMTP_NEVER_SEND_EHLO "smtp_never_send_ehlo" Bool = "no", Refused { reason: "EHLO is always sent first", weakens: Weakens::Never },
        "Whether EHLO is never sent.";
    SMTP_PER_REQUEST_DEADLINE "smtp_per_request_deadline" Bool = "${smtp_per_record_deadline?{$smtp_per_record_deadline}:{no}}", Refused { reason: "only the time limit of each wait is kept", weakens: Weakens::Never },
        "Whether time limits hold for a whole request instead of for each wait.";
    SMTP_PIX_WORKAROUND_DELAY_TIME "smtp_pix_workaround_delay_time" Time(Seconds) = "10s", WithoutEffect("old firewalls are not worked around"),
        "The pause before the final dot for faulty firewalls.";
    SMTP_PIX_WORKAROUND_MAPS "smtp_pix_workaround_maps" Maps = "", WithoutEffect("old firewalls are not worked around"),
        "Work-arounds for single servers behind faulty firewalls.";
    SMTP_PIX_WORKAROUND_THRESHOLD_TIME "smtp_pix_workaround_threshold_time" Time(Seconds) = "500s", WithoutEffect("old firewalls are not worked around"),
        "The age from which work-arounds for faulty firewalls are used.";
    SMTP_PIX_WORKAROUNDS "smtp_pix_workarounds" List = "disable_esmtp,delay_dotcrlf", WithoutEffect("old firewalls are not worked around"),
        "Work-arounds for faulty firewalls.";
    SMTP_QUIT_TIMEOUT "smtp_quit_timeout" Time(Seconds) = "300s", Honoured("smtp"),
        "The longest wait for the answer to QUIT.";
    SMTP_QUOTE_RFC821_ENVELOPE "smtp_quote_rfc821_envelope" Bool = "yes", Refused { reason: "addresses are always quoted as RFC 5321 has it", weakens: Weakens::Never },
        "Whether addresses are quoted as the standard has it.";
    SMTP_RANDOMIZE_ADDRESSES "smtp_randomize_addresses" Bool = "yes", Honoured("smtp"),
        "Whether servers of equal preference are tried in random order.";
    SMTP_RCPT_TIMEOUT "smtp_rcpt_timeout" Time(Seconds) = "300s", Honoured("smtp"),
        "The longest wait for the answer to RCPT.";
    SMTP_REPLY_FILTER "smtp_reply_filter" Maps = "", Refused { reason: "replies of servers are taken as they are", weakens: Weakens::Never },
        "A table that changes servers' replies.";
    SMTP_RSET_TIMEOUT "smtp_rset_timeout" Time(Seconds) = "20s", Honoured("smtp"),
        "The longest wait for the answer to RSET.";
    SMTP_SASL_AUTH_CACHE_NAME "smtp_sasl_auth_cache_name" Text = "", WithoutEffect("the client does not authenticate yet"),
        "A table that remembers failed authentications.";
    SMTP_SASL_AUTH_CACHE_TIME "smtp_sasl_auth_cache_time" Time(Days) = "90d", WithoutEffect("the client does not authenticate yet"),
        "How long a failed authentication is remembered.";
    SMTP_SASL_AUTH_ENABLE "smtp_sasl_auth_enable" Bool = "no", Refused { reason: "the client does not authenticate yet", weakens: Weakens::Never },
        "Whether the client authenticates.";
    SMTP_SASL_AUTH_SOFT_BOUNCE "smtp_sasl_auth_soft_bounce" Bool = "yes", WithoutEffect("the client does not authenticate yet"),
        "Whether mail waits after a failed authentication.";
    SMTP_SASL_MECHANISM_FILTER "smtp_sasl_mechanism_filter" List = "", WithoutEffect("the client does not authenticate yet"),
        "Mechanisms that are used.";
    SMTP_SASL_PASSWORD_MAPS "smtp_sasl_password_maps" Maps = "", WithoutEffect("the client does not authenticate yet"),
        "Tables of names and passwords by server.";
    SMTP_SASL_PATH "smtp_sasl_path" Text = "", WithoutEffect("the client does not authenticate yet"),
        "The path or name that the SASL implementation is given.";
    SMTP_SASL_SECURITY_OPTIONS "smtp_sasl_security_options" List = "noplaintext, noanonymous", WithoutEffect("the client does not authenticate yet"),
        "Which mechanisms are safe enough.";
    SMTP_SASL_TLS_SECURITY_OPTIONS "smtp_sasl_tls_security_options" List = "$smtp_sasl_security_options", WithoutEffect("the client does not authenticate yet"),
        "Which mechanisms are safe enough under TLS.";
    SMTP_SASL_TLS_VERIFIED_SECURITY_OPTIONS "smtp_sasl_tls_verified_security_options" List = "$smtp_sasl_tls_security_options", WithoutEffect("the client does not authenticate yet"),
        "Which mechanisms are safe enough with a verified server.";
    SMTP_SASL_TYPE "smtp_sasl_type" Text = "cyrus", WithoutEffect("the client does not authenticate yet"),
        "The SASL implementation.";
    SMTP_SEND_DUMMY_MAIL_AUTH "smtp_send_dummy_mail_auth" Bool = "no", WithoutEffect("AUTH= is not sent"),
        "Whether MAIL bears an empty AUTH option.";
    SMTP_SEND_XFORWARD_COMMAND "smtp_send_xforward_command" Bool = "no", Honoured("smtp"),
        "Whether what is known of the client is passed on with XFORWARD.";
    SMTP_SENDER_DEPENDENT_AUTHENTICATION "smtp_sender_dependent_authentication" Bool = "no", WithoutEffect("the client does not authenticate yet"),
        "Whether passwords are looked up by sender.";
    SMTP_SKIP_5XX_GREETING "smtp_skip_5xx_greeting" Bool = "yes", Honoured("smtp"),
        "Whether a 5xx greeting sends the client to the next server instead of bouncing the mail.";
    SMTP_SKIP_QUIT_RESPONSE "smtp_skip_quit_response" Bool = "yes", WithoutEffect("the answer to QUIT is never waited for"),
        "Whether the answer to QUIT is not waited for.";
    SMTP_TCP_PORT "smtp_tcp_port" Text = "smtp", Honoured("smtp"),
        "The port of servers, by number or name.";
    SMTP_XFORWARD_TIMEOUT "smtp_xforward_timeout" Time(Seconds) = "300s", Honoured("smtp"),
        "The longest wait for the answer to XFORWARD.";
}
