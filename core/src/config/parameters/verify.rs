//! Address probes.

use crate::config::parameter::parameters;

parameters! {
    ADDRESS_VERIFY_CACHE_CLEANUP_INTERVAL "address_verify_cache_cleanup_interval" Time(Hours) = "12h", Honoured("verify"),
        "How often the cache of probes is cleaned.";
    ADDRESS_VERIFY_DEFAULT_TRANSPORT "address_verify_default_transport" Text = "$default_transport", Honoured("verify"),
        "The default_transport of probes.";
    ADDRESS_VERIFY_LOCAL_TRANSPORT "address_verify_local_transport" Text = "$local_transport", Honoured("verify"),
        "The local_transport of probes.";
    ADDRESS_VERIFY_MAP "address_verify_map" Text = "btree:$data_directory/verify_cache", Honoured("verify"),
        "The cache of probes.";
    ADDRESS_VERIFY_NEGATIVE_CACHE "address_verify_negative_cache" Bool = "yes", Honoured("verify"),
        "Whether failed probes are cached.";
    ADDRESS_VERIFY_NEGATIVE_EXPIRE_TIME "address_verify_negative_expire_time" Time(Days) = "3d", Honoured("verify"),
        "How long a failed probe counts.";
    ADDRESS_VERIFY_NEGATIVE_REFRESH_TIME "address_verify_negative_refresh_time" Time(Hours) = "3h", Honoured("verify"),
        "The age from which a failed probe is repeated.";
    ADDRESS_VERIFY_PENDING_REQUEST_LIMIT "address_verify_pending_request_limit" Int = "5000", Honoured("verify"),
        "The most probes in progress.";
    ADDRESS_VERIFY_POLL_COUNT "address_verify_poll_count" Int = "${stress?{1}:{3}}", Honoured("verify"),
        "How often the server asks for a probe's outcome.";
    ADDRESS_VERIFY_POLL_DELAY "address_verify_poll_delay" Time(Seconds) = "3s", Honoured("verify"),
        "The pause between questions for a probe's outcome.";
    ADDRESS_VERIFY_POSITIVE_EXPIRE_TIME "address_verify_positive_expire_time" Time(Days) = "31d", Honoured("verify"),
        "How long a successful probe counts.";
    ADDRESS_VERIFY_POSITIVE_REFRESH_TIME "address_verify_positive_refresh_time" Time(Days) = "7d", Honoured("verify"),
        "The age from which a successful probe is repeated.";
    ADDRESS_VERIFY_RELAY_TRANSPORT "address_verify_relay_transport" Text = "$relay_transport", Honoured("verify"),
        "The relay_transport of probes.";
    ADDRESS_VERIFY_RELAYHOST "address_verify_relayhost" Text = "$relayhost", Honoured("verify"),
        "The relayhost of probes.";
    ADDRESS_VERIFY_SENDER "address_verify_sender" Text = "$double_bounce_sender", Honoured("smtpd, verify"),
        "The sender of probes; mail to it is never refused.";
    ADDRESS_VERIFY_SENDER_DEPENDENT_DEFAULT_TRANSPORT_MAPS "address_verify_sender_dependent_default_transport_maps" Maps = "$sender_dependent_default_transport_maps", Honoured("verify"),
        "The default transports by sender of probes.";
    ADDRESS_VERIFY_SENDER_DEPENDENT_RELAYHOST_MAPS "address_verify_sender_dependent_relayhost_maps" Maps = "$sender_dependent_relayhost_maps", Honoured("verify"),
        "The relay hosts by sender of probes.";
    ADDRESS_VERIFY_SENDER_TTL "address_verify_sender_ttl" Time(Seconds) = "0s", Honoured("verify"),
        "How long one sender of probes is used; 0 for ever.";
    ADDRESS_VERIFY_SERVICE_NAME "address_verify_service_name" Text = "verify", WithoutEffect("services of one process need no names"),
        "The name of the probe service.";
    ADDRESS_VERIFY_TRANSPORT_MAPS "address_verify_transport_maps" Maps = "$transport_maps", Honoured("verify"),
        "The transport tables of probes.";
    ADDRESS_VERIFY_VIRTUAL_TRANSPORT "address_verify_virtual_transport" Text = "$virtual_transport", Honoured("verify"),
        "The virtual_transport of probes.";
}
