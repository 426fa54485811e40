//! Processes and their private talk, which here is one process.

use crate::config::parameter::{Weakens, parameters};

parameters! {
    ANVIL_RATE_TIME_UNIT "anvil_rate_time_unit" Time(Seconds) = "60s", Honoured("anvil"),
        "The unit of time for client rates.";
    ANVIL_STATUS_UPDATE_TIME "anvil_status_update_time" Time(Seconds) = "600s", Honoured("anvil"),
        "How often the highest client rates are logged.";
    AUTHORIZED_FLUSH_USERS "authorized_flush_users" List = "static:anyone", Honoured("control"),
        "Users who may flush the queue.";
    AUTHORIZED_MAILQ_USERS "authorized_mailq_users" List = "static:anyone", Honoured("control"),
        "Users who may list the queue.";
    AUTHORIZED_SUBMIT_USERS "authorized_submit_users" List = "static:anyone", WithoutEffect("local submission is not served yet"),
        "Users who may submit mail with the sendmail command.";
    BOUNCE_SERVICE_NAME "bounce_service_name" Text = "bounce", WithoutEffect("services of one process need no names"),
        "The name of the service that keeps bounce reasons.";
    CLEANUP_SERVICE_NAME "cleanup_service_name" Text = "cleanup", Honoured("cleanup"),
        "The name of the cleanup service.";
    CONNECTION_CACHE_PROTOCOL_TIMEOUT "connection_cache_protocol_timeout" Time(Seconds) = "5s", WithoutEffect("the cache is in the same process"),
        "The longest wait for the connection cache.";
    CONNECTION_CACHE_SERVICE_NAME "connection_cache_service_name" Text = "scache", WithoutEffect("services of one process need no names"),
        "The name of the connection cache service.";
    CONNECTION_CACHE_STATUS_UPDATE_TIME "connection_cache_status_update_time" Time(Seconds) = "600s", WithoutEffect("the counters show the cache"),
        "How often the use of the connection cache is logged.";
    CONNECTION_CACHE_TTL_LIMIT "connection_cache_ttl_limit" Time(Seconds) = "2s", Honoured("smtp"),
        "The longest time for which the cache keeps a connection.";
    DAEMON_TABLE_OPEN_ERROR_IS_FATAL "daemon_table_open_error_is_fatal" Bool = "no", WithoutEffect("who asks a table that cannot be opened is told to try again"),
        "Whether a table that cannot be opened ends a daemon.";
    DAEMON_TIMEOUT "daemon_timeout" Time(Seconds) = "18000s", WithoutEffect("there is no watchdog"),
        "The longest time for one request before a watchdog ends the daemon.";
    DEFER_SERVICE_NAME "defer_service_name" Text = "defer", WithoutEffect("services of one process need no names"),
        "The name of the service that keeps reasons of deferral.";
    DNSBLOG_REPLY_DELAY "dnsblog_reply_delay" Time(Seconds) = "0s", Refused { reason: "the screening server is not served yet", weakens: Weakens::Never },
        "An artificial delay of answers about block lists, for tests.";
    DNSBLOG_SERVICE_NAME "dnsblog_service_name" Text = "dnsblog", WithoutEffect("services of one process need no names"),
        "The name of the block list lookup service.";
    ERROR_SERVICE_NAME "error_service_name" Text = "error", WithoutEffect("services of one process need no names"),
        "The name of the service that returns mail for bad destinations.";
    FLUSH_SERVICE_NAME "flush_service_name" Text = "flush", WithoutEffect("services of one process need no names"),
        "The name of the fast flush service.";
    FORK_ATTEMPTS "fork_attempts" Int = "5", WithoutEffect("no processes are forked"),
        "How often a fork is tried.";
    FORK_DELAY "fork_delay" Time(Seconds) = "1s", WithoutEffect("no processes are forked"),
        "The pause between attempts to fork.";
    IPC_IDLE "ipc_idle" Time(Seconds) = "5s", WithoutEffect("services talk within one process"),
        "How long an unused connection between services stays open.";
    IPC_TIMEOUT "ipc_timeout" Time(Seconds) = "3600s", WithoutEffect("services talk within one process"),
        "The longest wait for another service.";
    IPC_TTL "ipc_ttl" Time(Seconds) = "1000s", WithoutEffect("services talk within one process"),
        "How long a connection between services may be used.";
    MASTER_SERVICE_DISABLE "master_service_disable" List = "", Refused { reason: "services are not disabled by name", weakens: Weakens::Always },
        "Services that are not started although master.cf has them.";
    MAX_IDLE "max_idle" Time(Seconds) = "100s", WithoutEffect("no processes are forked"),
        "How long a process without work stays.";
    MAX_USE "max_use" Int = "100", WithoutEffect("no processes are forked"),
        "How many requests a process serves.";
    PICKUP_SERVICE_NAME "pickup_service_name" Text = "pickup", WithoutEffect("services of one process need no names"),
        "The name of the pickup service.";
    POSTLOG_SERVICE_NAME "postlog_service_name" Text = "postlog", WithoutEffect("services of one process need no names"),
        "The name of the log service.";
    POSTLOGD_WATCHDOG_TIMEOUT "postlogd_watchdog_timeout" Time(Seconds) = "10s", WithoutEffect("there is no watchdog"),
        "The longest time that the log service may take for one line.";
    PROXY_READ_MAPS "proxy_read_maps" List = "$local_recipient_maps $mydestination $virtual_alias_maps $virtual_alias_domains $virtual_mailbox_maps $virtual_mailbox_domains $relay_recipient_maps $relay_domains $canonical_maps $sender_canonical_maps $recipient_canonical_maps $relocated_maps $transport_maps $mynetworks $smtpd_sender_login_maps $sender_bcc_maps $recipient_bcc_maps $smtp_generic_maps $lmtp_generic_maps $alias_maps $smtpd_client_restrictions $smtpd_helo_restrictions $smtpd_sender_restrictions $smtpd_relay_restrictions $smtpd_recipient_restrictions $address_verify_sender_dependent_default_transport_maps $address_verify_sender_dependent_relayhost_maps $address_verify_transport_maps $fallback_transport_maps $lmtp_discard_lhlo_keyword_address_maps $lmtp_pix_workaround_maps $lmtp_sasl_password_maps $lmtp_tls_policy_maps $mailbox_command_maps $mailbox_transport_maps $postscreen_discard_ehlo_keyword_address_maps $rbl_reply_maps $sender_dependent_default_transport_maps $sender_dependent_relayhost_maps $smtp_discard_ehlo_keyword_address_maps $smtp_pix_workaround_maps $smtp_sasl_password_maps $smtp_tls_policy_maps $smtpd_discard_ehlo_keyword_address_maps $smtpd_milter_maps $virtual_gid_maps $virtual_uid_maps $local_login_sender_maps $postscreen_reject_footer_maps $smtpd_reject_footer_maps $tls_server_sni_maps $tlsproxy_client_policy_maps $default_delivery_status_filter $lmtp_delivery_status_filter $lmtp_dns_reply_filter $lmtp_reply_filter $local_delivery_status_filter $pipe_delivery_status_filter $postscreen_command_filter $smtp_delivery_status_filter $smtp_dns_reply_filter $smtp_reply_filter $smtpd_command_filter $smtpd_dns_reply_filter $virtual_delivery_status_filter $body_checks $header_checks $lmtp_body_checks $lmtp_header_checks $lmtp_mime_header_checks $lmtp_nested_header_checks $milter_header_checks $mime_header_checks $nested_header_checks $smtp_body_checks $smtp_header_checks $smtp_mime_header_checks $smtp_nested_header_checks", Honoured("tables"),
        "Tables that may be read through the table proxy.";
    PROXY_WRITE_MAPS "proxy_write_maps" List = "$smtp_sasl_auth_cache_name $lmtp_sasl_auth_cache_name $address_verify_map $postscreen_cache_map", Honoured("tables"),
        "Tables that may be written through the table proxy.";
    PROXYMAP_SERVICE_NAME "proxymap_service_name" Text = "proxymap", WithoutEffect("services of one process need no names"),
        "The name of the table proxy for reading.";
    PROXYWRITE_SERVICE_NAME "proxywrite_service_name" Text = "proxywrite", WithoutEffect("services of one process need no names"),
        "The name of the table proxy for writing.";
    QUEUE_SERVICE_NAME "queue_service_name" Text = "qmgr", WithoutEffect("services of one process need no names"),
        "The name of the queue manager.";
    REWRITE_SERVICE_NAME "rewrite_service_name" Text = "rewrite", WithoutEffect("services of one process need no names"),
        "The name of the address rewriting service.";
    SENDMAIL_FIX_LINE_ENDINGS "sendmail_fix_line_endings" Text = "always", WithoutEffect("local submission is not served yet"),
        "How the sendmail command treats line ends.";
    SERVICE_THROTTLE_TIME "service_throttle_time" Time(Seconds) = "60s", WithoutEffect("no processes are forked"),
        "The pause before a failing daemon is started again.";
    SHOWQ_SERVICE_NAME "showq_service_name" Text = "showq", WithoutEffect("services of one process need no names"),
        "The name of the queue listing service.";
    SMTPD_SERVICE_NAME "smtpd_service_name" Text = "smtpd", WithoutEffect("services of one process need no names"),
        "The name of the service to which the screening server hands clients.";
    TLSMGR_SERVICE_NAME "tlsmgr_service_name" Text = "tlsmgr", WithoutEffect("services of one process need no names"),
        "The name of the TLS session cache service.";
    TLSPROXY_SERVICE_NAME "tlsproxy_service_name" Text = "tlsproxy", WithoutEffect("services of one process need no names"),
        "The name of the TLS proxy.";
    TRACE_SERVICE_NAME "trace_service_name" Text = "trace", WithoutEffect("services of one process need no names"),
        "The name of the service that keeps delivery reports.";
    TRIGGER_TIMEOUT "trigger_timeout" Time(Seconds) = "10s", WithoutEffect("services talk within one process"),
        "The longest wait for a service to be woken.";
}
