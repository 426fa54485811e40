//! The screening server in front of the SMTP server.

use crate::config::parameter::{Weakens, parameters};

parameters! {
    POSTSCREEN_ACCESS_LIST "postscreen_access_list" List = "permit_mynetworks", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: clients that are let through or refused without tests.";
    POSTSCREEN_ALLOWLIST_INTERFACES "postscreen_allowlist_interfaces" List = "${postscreen_whitelist_interfaces?{$postscreen_whitelist_interfaces}:{static:all}}", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: addresses of ours at which clients can pass the tests.";
    POSTSCREEN_BARE_NEWLINE_ACTION "postscreen_bare_newline_action" Text = "ignore", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: what follows on a bare newline.";
    POSTSCREEN_BARE_NEWLINE_ENABLE "postscreen_bare_newline_enable" Bool = "no", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: whether bare newlines are tested for.";
    POSTSCREEN_BARE_NEWLINE_TTL "postscreen_bare_newline_ttl" Time(Seconds) = "30d", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: how long a passed test for bare newlines counts.";
    POSTSCREEN_CACHE_CLEANUP_INTERVAL "postscreen_cache_cleanup_interval" Time(Hours) = "12h", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: how often the cache of tests is cleaned.";
    POSTSCREEN_CACHE_MAP "postscreen_cache_map" Text = "btree:$data_directory/postscreen_cache", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: the cache of tests.";
    POSTSCREEN_CACHE_RETENTION_TIME "postscreen_cache_retention_time" Time(Days) = "7d", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: how long an expired entry stays in the cache.";
    POSTSCREEN_CLIENT_CONNECTION_COUNT_LIMIT "postscreen_client_connection_count_limit" Int = "$smtpd_client_connection_count_limit", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: the most sessions of one client at a time.";
    POSTSCREEN_COMMAND_COUNT_LIMIT "postscreen_command_count_limit" Int = "20", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: the most commands of a session under deep tests.";
    POSTSCREEN_COMMAND_FILTER "postscreen_command_filter" Maps = "", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: a table that rewrites commands.";
    POSTSCREEN_COMMAND_TIME_LIMIT "postscreen_command_time_limit" Time(Seconds) = "${stress?{10}:{300}}s", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: the longest wait for a command.";
    POSTSCREEN_DENYLIST_ACTION "postscreen_denylist_action" Text = "${postscreen_blacklist_action?{$postscreen_blacklist_action}:{ignore}}", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: what follows for clients that are listed as bad.";
    POSTSCREEN_DISABLE_VRFY_COMMAND "postscreen_disable_vrfy_command" Bool = "$disable_vrfy_command", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: whether VRFY is refused.";
    POSTSCREEN_DISCARD_EHLO_KEYWORD_ADDRESS_MAPS "postscreen_discard_ehlo_keyword_address_maps" Maps = "$smtpd_discard_ehlo_keyword_address_maps", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: eHLO keywords that are not announced to single clients.";
    POSTSCREEN_DISCARD_EHLO_KEYWORDS "postscreen_discard_ehlo_keywords" List = "$smtpd_discard_ehlo_keywords", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: eHLO keywords that are not announced.";
    POSTSCREEN_DNSBL_ACTION "postscreen_dnsbl_action" Text = "ignore", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: what follows for clients on block lists.";
    POSTSCREEN_DNSBL_ALLOWLIST_THRESHOLD "postscreen_dnsbl_allowlist_threshold" Text = "${postscreen_dnsbl_whitelist_threshold?{$postscreen_dnsbl_whitelist_threshold}:{0}}", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: the score with which a client on allow lists skips the tests.";
    POSTSCREEN_DNSBL_MAX_TTL "postscreen_dnsbl_max_ttl" Time(Hours) = "${postscreen_dnsbl_ttl?{$postscreen_dnsbl_ttl}:{1}}h", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: the longest time for which a block list's answer counts.";
    POSTSCREEN_DNSBL_MIN_TTL "postscreen_dnsbl_min_ttl" Time(Seconds) = "60s", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: the shortest time for which a block list's answer counts.";
    POSTSCREEN_DNSBL_REPLY_MAP "postscreen_dnsbl_reply_map" Text = "", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: a table of names that are shown instead of block lists'.";
    POSTSCREEN_DNSBL_SITES "postscreen_dnsbl_sites" List = "", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: block lists with their weights.";
    POSTSCREEN_DNSBL_THRESHOLD "postscreen_dnsbl_threshold" Int = "1", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: the score from which a client is refused.";
    POSTSCREEN_DNSBL_TIMEOUT "postscreen_dnsbl_timeout" Time(Seconds) = "10s", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: the longest wait for block lists.";
    POSTSCREEN_ENFORCE_TLS "postscreen_enforce_tls" Bool = "$smtpd_enforce_tls", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: whether TLS is required, the older form.";
    POSTSCREEN_EXPANSION_FILTER "postscreen_expansion_filter" Raw = "$smtpd_expansion_filter", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: characters that may stand in expanded replies.";
    POSTSCREEN_FORBIDDEN_COMMANDS "postscreen_forbidden_commands" List = "$smtpd_forbidden_commands", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: commands that end a session at once.";
    POSTSCREEN_GREET_ACTION "postscreen_greet_action" Text = "ignore", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: what follows for clients that speak before the greeting.";
    POSTSCREEN_GREET_BANNER "postscreen_greet_banner" Text = "$smtpd_banner", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: the first part of a greeting in two parts.";
    POSTSCREEN_GREET_TTL "postscreen_greet_ttl" Time(Days) = "1d", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: how long a passed greeting test counts.";
    POSTSCREEN_GREET_WAIT "postscreen_greet_wait" Time(Seconds) = "${stress?{2}:{6}}s", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: how long a client must wait for the greeting.";
    POSTSCREEN_HELO_REQUIRED "postscreen_helo_required" Bool = "$smtpd_helo_required", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: whether a session must begin with HELO or EHLO.";
    POSTSCREEN_NON_SMTP_COMMAND_ACTION "postscreen_non_smtp_command_action" Text = "drop", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: what follows on commands of other protocols.";
    POSTSCREEN_NON_SMTP_COMMAND_ENABLE "postscreen_non_smtp_command_enable" Bool = "no", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: whether commands of other protocols are tested for.";
    POSTSCREEN_NON_SMTP_COMMAND_TTL "postscreen_non_smtp_command_ttl" Time(Days) = "30d", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: how long a passed test for other protocols counts.";
    POSTSCREEN_PIPELINING_ACTION "postscreen_pipelining_action" Text = "enforce", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: what follows on commands before their turn.";
    POSTSCREEN_PIPELINING_ENABLE "postscreen_pipelining_enable" Bool = "no", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: whether commands before their turn are tested for.";
    POSTSCREEN_PIPELINING_TTL "postscreen_pipelining_ttl" Time(Days) = "30d", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: how long a passed test for early commands counts.";
    POSTSCREEN_POST_QUEUE_LIMIT "postscreen_post_queue_limit" Int = "$default_process_limit", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: the most clients that wait for a server.";
    POSTSCREEN_PRE_QUEUE_LIMIT "postscreen_pre_queue_limit" Int = "$default_process_limit", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: the most clients under test.";
    POSTSCREEN_REJECT_FOOTER "postscreen_reject_footer" Raw = "$smtpd_reject_footer", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: a text that is added to every refusal.";
    POSTSCREEN_REJECT_FOOTER_MAPS "postscreen_reject_footer_maps" Maps = "$smtpd_reject_footer_maps", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: texts that are added to single refusals.";
    POSTSCREEN_TLS_SECURITY_LEVEL "postscreen_tls_security_level" Text = "$smtpd_tls_security_level", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: whether TLS is used.";
    POSTSCREEN_UPSTREAM_PROXY_PROTOCOL "postscreen_upstream_proxy_protocol" Text = "", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: the protocol by which a proxy in front tells the client's address.";
    POSTSCREEN_UPSTREAM_PROXY_TIMEOUT "postscreen_upstream_proxy_timeout" Time(Seconds) = "5s", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: the longest wait for the proxy in front.";
    POSTSCREEN_USE_TLS "postscreen_use_tls" Bool = "$smtpd_use_tls", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: whether TLS is used, the older form.";
    POSTSCREEN_WATCHDOG_TIMEOUT "postscreen_watchdog_timeout" Time(Seconds) = "10s", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "Screening: how long the screening server may take for one step.";
}
