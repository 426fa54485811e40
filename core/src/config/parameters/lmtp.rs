//! The LMTP client.

use crate::config::parameter::{Weakens, parameters};

parameters! {
    LMTP_ADDRESS_PREFERENCE "lmtp_address_preference" Word("any" "ipv4" "ipv6") = "any", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The version of IP that is tried first.";
    LMTP_ADDRESS_VERIFY_TARGET "lmtp_address_verify_target" Text = "rcpt", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The stage at which a probe ends.";
    LMTP_ASSUME_FINAL "lmtp_assume_final" Bool = "no", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Whether delivery is reported as final although the server does not say so.";
    LMTP_BALANCE_INET_PROTOCOLS "lmtp_balance_inet_protocols" Bool = "yes", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Whether both versions of IP stay among the addresses when their number is cut.";
    LMTP_BIND_ADDRESS "lmtp_bind_address" Text = "", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The IPv4 address from which connections are made.";
    LMTP_BIND_ADDRESS6 "lmtp_bind_address6" Text = "", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The IPv6 address from which connections are made.";
    LMTP_BIND_ADDRESS_ENFORCE "lmtp_bind_address_enforce" Bool = "no", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Whether mail waits when the address to send from is not available.";
    LMTP_BODY_CHECKS "lmtp_body_checks" Maps = "", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Tables of patterns for lines of bodies that are sent.";
    LMTP_CNAME_OVERRIDES_SERVERNAME "lmtp_cname_overrides_servername" Bool = "no", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Whether an alias changes the server's name.";
    LMTP_CONNECT_TIMEOUT "lmtp_connect_timeout" Time(Seconds) = "0s", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The longest wait for a connection; 0 for the system's own limit.";
    LMTP_CONNECTION_CACHE_DESTINATIONS "lmtp_connection_cache_destinations" Domains = "", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Destinations whose connections are always kept.";
    LMTP_CONNECTION_CACHE_ON_DEMAND "lmtp_connection_cache_on_demand" Bool = "yes", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Whether connections of busy destinations are kept.";
    LMTP_CONNECTION_CACHE_TIME_LIMIT "lmtp_connection_cache_time_limit" Time(Seconds) = "2s", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "How long an unused connection is kept.";
    LMTP_CONNECTION_REUSE_COUNT_LIMIT "lmtp_connection_reuse_count_limit" Int = "0", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "How many deliveries one connection carries; 0 for no limit.";
    LMTP_CONNECTION_REUSE_TIME_LIMIT "lmtp_connection_reuse_time_limit" Time(Seconds) = "300s", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "How long after it was made a connection may be used again.";
    LMTP_DATA_DONE_TIMEOUT "lmtp_data_done_timeout" Time(Seconds) = "600s", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The longest wait for the answer to the final dot.";
    LMTP_DATA_INIT_TIMEOUT "lmtp_data_init_timeout" Time(Seconds) = "120s", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The longest wait for the answer to DATA.";
    LMTP_DATA_XFER_TIMEOUT "lmtp_data_xfer_timeout" Time(Seconds) = "180s", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The longest wait for the server to take a piece of content.";
    LMTP_DEFER_IF_NO_MX_ADDRESS_FOUND "lmtp_defer_if_no_mx_address_found" Bool = "no", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Whether mail waits when no mail exchanger has an address.";
    LMTP_DELIVERY_STATUS_FILTER "lmtp_delivery_status_filter" Maps = "$default_delivery_status_filter", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Tables that change the status of deliveries.";
    LMTP_DISCARD_LHLO_KEYWORD_ADDRESS_MAPS "lmtp_discard_lhlo_keyword_address_maps" Maps = "", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "LHLO keywords of single servers that are ignored.";
    LMTP_DISCARD_LHLO_KEYWORDS "lmtp_discard_lhlo_keywords" List = "", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "LHLO keywords of servers that are ignored.";
    LMTP_DNS_REPLY_FILTER "lmtp_dns_reply_filter" Maps = "", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "A table that changes DNS answers.";
    LMTP_DNS_RESOLVER_OPTIONS "lmtp_dns_resolver_options" List = "", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "How the resolver completes names.";
    LMTP_DNS_SUPPORT_LEVEL "lmtp_dns_support_level" Text = "", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Whether the DNS is used, and with DNSSEC.";
    LMTP_FALLBACK_RELAY "lmtp_fallback_relay" List = "", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Servers that get mail whose own servers cannot be reached.";
    LMTP_GENERIC_MAPS "lmtp_generic_maps" Maps = "", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Tables that change addresses on the way out.";
    LMTP_HEADER_CHECKS "lmtp_header_checks" Maps = "", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Tables of patterns for headers that are sent.";
    LMTP_HOST_LOOKUP "lmtp_host_lookup" List = "dns", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "How servers' names are looked up.";
    LMTP_LHLO_NAME "lmtp_lhlo_name" Text = "$myhostname", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The name given with LHLO.";
    LMTP_LHLO_TIMEOUT "lmtp_lhlo_timeout" Time(Seconds) = "300s", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The longest wait for the greeting and for the answer to LHLO.";
    LMTP_LINE_LENGTH_LIMIT "lmtp_line_length_limit" Int(0, 1048576) = "998", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The longest line that is sent; longer ones are folded; 0 for no limit.";
    LMTP_MAIL_TIMEOUT "lmtp_mail_timeout" Time(Seconds) = "300s", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The longest wait for the answer to MAIL.";
    LMTP_MIME_HEADER_CHECKS "lmtp_mime_header_checks" Maps = "", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Tables of patterns for MIME headers that are sent.";
    LMTP_MIN_DATA_RATE "lmtp_min_data_rate" Int(1, 2147483647) = "500", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The slowest data rate with a deadline for each request, in bytes a second.";
    LMTP_MX_ADDRESS_LIMIT "lmtp_mx_address_limit" Int = "5", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The most addresses of one destination that are tried; 0 for no limit.";
    LMTP_MX_SESSION_LIMIT "lmtp_mx_session_limit" Int = "2", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The most sessions with one destination's servers in one attempt; 0 for no limit.";
    LMTP_NESTED_HEADER_CHECKS "lmtp_nested_header_checks" Maps = "", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Tables of patterns for headers of attached messages that are sent.";
    LMTP_PER_REQUEST_DEADLINE "lmtp_per_request_deadline" Bool = "${lmtp_per_record_deadline?{$lmtp_per_record_deadline}:{no}}", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Whether time limits hold for a whole request instead of for each wait.";
    LMTP_PIX_WORKAROUND_DELAY_TIME "lmtp_pix_workaround_delay_time" Time(Seconds) = "10s", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The pause before the final dot for faulty firewalls.";
    LMTP_PIX_WORKAROUND_MAPS "lmtp_pix_workaround_maps" Maps = "", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Work-arounds for single servers behind faulty firewalls.";
    LMTP_PIX_WORKAROUND_THRESHOLD_TIME "lmtp_pix_workaround_threshold_time" Time(Seconds) = "500s", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The age from which work-arounds for faulty firewalls are used.";
    LMTP_PIX_WORKAROUNDS "lmtp_pix_workarounds" List = "disable_esmtp,delay_dotcrlf", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Work-arounds for faulty firewalls.";
    LMTP_QUIT_TIMEOUT "lmtp_quit_timeout" Time(Seconds) = "300s", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The longest wait for the answer to QUIT.";
    LMTP_QUOTE_RFC821_ENVELOPE "lmtp_quote_rfc821_envelope" Bool = "yes", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Whether addresses are quoted as the standard has it.";
    LMTP_RANDOMIZE_ADDRESSES "lmtp_randomize_addresses" Bool = "yes", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Whether servers of equal preference are tried in random order.";
    LMTP_RCPT_TIMEOUT "lmtp_rcpt_timeout" Time(Seconds) = "300s", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The longest wait for the answer to RCPT.";
    LMTP_REPLY_FILTER "lmtp_reply_filter" Maps = "", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "A table that changes servers' replies.";
    LMTP_RSET_TIMEOUT "lmtp_rset_timeout" Time(Seconds) = "20s", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The longest wait for the answer to RSET.";
    LMTP_SASL_AUTH_CACHE_NAME "lmtp_sasl_auth_cache_name" Text = "", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "A table that remembers failed authentications.";
    LMTP_SASL_AUTH_CACHE_TIME "lmtp_sasl_auth_cache_time" Time(Days) = "90d", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "How long a failed authentication is remembered.";
    LMTP_SASL_AUTH_ENABLE "lmtp_sasl_auth_enable" Bool = "no", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Whether the client authenticates.";
    LMTP_SASL_AUTH_SOFT_BOUNCE "lmtp_sasl_auth_soft_bounce" Bool = "yes", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Whether mail waits after a failed authentication.";
    LMTP_SASL_MECHANISM_FILTER "lmtp_sasl_mechanism_filter" List = "", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Mechanisms that are used.";
    LMTP_SASL_PASSWORD_MAPS "lmtp_sasl_password_maps" Maps = "", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Tables of names and passwords by server.";
    LMTP_SASL_PATH "lmtp_sasl_path" Text = "", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The path or name that the SASL implementation is given.";
    LMTP_SASL_SECURITY_OPTIONS "lmtp_sasl_security_options" List = "noplaintext, noanonymous", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Which mechanisms are safe enough.";
    LMTP_SASL_TLS_SECURITY_OPTIONS "lmtp_sasl_tls_security_options" List = "$lmtp_sasl_security_options", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Which mechanisms are safe enough under TLS.";
    LMTP_SASL_TLS_VERIFIED_SECURITY_OPTIONS "lmtp_sasl_tls_verified_security_options" List = "$lmtp_sasl_tls_security_options", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Which mechanisms are safe enough with a verified server.";
    LMTP_SASL_TYPE "lmtp_sasl_type" Text = "cyrus", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The SASL implementation.";
    LMTP_SEND_DUMMY_MAIL_AUTH "lmtp_send_dummy_mail_auth" Bool = "no", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Whether MAIL bears an empty AUTH option.";
    LMTP_SEND_XFORWARD_COMMAND "lmtp_send_xforward_command" Bool = "no", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Whether what is known of the client is passed on with XFORWARD.";
    LMTP_SENDER_DEPENDENT_AUTHENTICATION "lmtp_sender_dependent_authentication" Bool = "no", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Whether passwords are looked up by sender.";
    LMTP_SKIP_5XX_GREETING "lmtp_skip_5xx_greeting" Bool = "yes", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Whether a 5xx greeting sends the client to the next server instead of bouncing the mail.";
    LMTP_SKIP_QUIT_RESPONSE "lmtp_skip_quit_response" Bool = "no", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "Whether the answer to QUIT is not waited for.";
    LMTP_TCP_PORT "lmtp_tcp_port" Int = "24", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The port of LMTP servers, by number or name.";
    LMTP_XFORWARD_TIMEOUT "lmtp_xforward_timeout" Time(Seconds) = "300s", Refused { reason: "the LMTP client is not served yet", weakens: Weakens::Never },
        "The longest wait for the answer to XFORWARD.";
}
