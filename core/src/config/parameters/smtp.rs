//! The SMTP client.

use crate::config::parameter::parameters;

parameters! {
    SMTP_ADDRESS_PREFERENCE "smtp_address_preference" Word("any" "ipv4" "ipv6") = "any", Honoured("smtp"),
        "The version of IP that is tried first.";
    SMTP_ALWAYS_SEND_EHLO "smtp_always_send_ehlo" Bool = "yes", Honoured("smtp"),
        "Whether EHLO is sent even to servers whose greeting does not say ESMTP.";
    SMTP_BALANCE_INET_PROTOCOLS "smtp_balance_inet_protocols" Bool = "yes", Honoured("smtp"),
        "Whether both versions of IP stay among the addresses when their number is cut.";
    SMTP_BIND_ADDRESS "smtp_bind_address" Text = "", Honoured("smtp"),
        "The IPv4 address from which connections are made.";
    SMTP_BIND_ADDRESS6 "smtp_bind_address6" Text = "", Honoured("smtp"),
        "The IPv6 address from which connections are made.";
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
    SMTP_DISCARD_EHLO_KEYWORDS "smtp_discard_ehlo_keywords" List = "", Honoured("smtp"),
        "EHLO keywords of servers that are ignored.";
    SMTP_HELO_NAME "smtp_helo_name" Text = "$myhostname", Honoured("smtp"),
        "The name given with HELO and EHLO.";
    SMTP_HELO_TIMEOUT "smtp_helo_timeout" Time(Seconds) = "300s", Honoured("smtp"),
        "The longest wait for the greeting and for the answer to HELO.";
    SMTP_LINE_LENGTH_LIMIT "smtp_line_length_limit" Int(0, 1048576) = "998", Honoured("smtp"),
        "The longest line that is sent; longer ones are folded; 0 for no limit.";
    SMTP_MAIL_TIMEOUT "smtp_mail_timeout" Time(Seconds) = "300s", Honoured("smtp"),
        "The longest wait for the answer to MAIL.";
    SMTP_MX_ADDRESS_LIMIT "smtp_mx_address_limit" Int = "5", Honoured("smtp"),
        "The most addresses of one destination that are tried; 0 for no limit.";
    SMTP_MX_SESSION_LIMIT "smtp_mx_session_limit" Int = "2", Honoured("smtp"),
        "The most sessions with one destination's servers in one attempt; 0 for no limit.";
    SMTP_QUIT_TIMEOUT "smtp_quit_timeout" Time(Seconds) = "300s", Honoured("smtp"),
        "The longest wait for the answer to QUIT.";
    SMTP_RANDOMIZE_ADDRESSES "smtp_randomize_addresses" Bool = "yes", Honoured("smtp"),
        "Whether servers of equal preference are tried in random order.";
    SMTP_RCPT_TIMEOUT "smtp_rcpt_timeout" Time(Seconds) = "300s", Honoured("smtp"),
        "The longest wait for the answer to RCPT.";
    SMTP_RSET_TIMEOUT "smtp_rset_timeout" Time(Seconds) = "20s", Honoured("smtp"),
        "The longest wait for the answer to RSET.";
    SMTP_SKIP_5XX_GREETING "smtp_skip_5xx_greeting" Bool = "yes", Honoured("smtp"),
        "Whether a 5xx greeting sends the client to the next server instead of bouncing the mail.";
    SMTP_SKIP_QUIT_RESPONSE "smtp_skip_quit_response" Bool = "yes", Honoured("smtp"),
        "Whether the answer to QUIT is not waited for.";
    SMTP_TCP_PORT "smtp_tcp_port" Text = "smtp", Honoured("smtp"),
        "The port of servers, by number or name.";
}
