//! What access restrictions use and answer.

use crate::config::parameter::parameters;

parameters! {
    ACCESS_MAP_DEFER_CODE "access_map_defer_code" Int = "450", Honoured("smtpd"),
        "The reply code of a temporary refusal by an access table.";
    ACCESS_MAP_REJECT_CODE "access_map_reject_code" Int = "554", Honoured("smtpd"),
        "The reply code of a refusal by an access table.";
    DEFAULT_RBL_REPLY "default_rbl_reply" Raw = "$rbl_code Service unavailable; $rbl_class [$rbl_what] blocked using $rbl_domain${rbl_reason?; $rbl_reason}", Honoured("smtpd"),
        "The reply to clients and names on a block list.";
    DEFER_CODE "defer_code" Int = "450", Honoured("smtpd"),
        "The reply code of the restriction defer.";
    INVALID_HOSTNAME_REJECT_CODE "invalid_hostname_reject_code" Int = "501", Honoured("smtpd"),
        "The reply code for a malformed HELO name.";
    MAPS_RBL_DOMAINS "maps_rbl_domains" List = "", Honoured("smtpd"),
        "Block lists of the oldest kind of restriction.";
    MAPS_RBL_REJECT_CODE "maps_rbl_reject_code" Int = "554", Honoured("smtpd"),
        "The reply code for clients on a block list.";
    MULTI_RECIPIENT_BOUNCE_REJECT_CODE "multi_recipient_bounce_reject_code" Int = "550", Honoured("smtpd"),
        "The reply code for a bounce with several recipients.";
    NON_FQDN_REJECT_CODE "non_fqdn_reject_code" Int = "504", Honoured("smtpd"),
        "The reply code for a name that is not fully qualified.";
    PERMIT_MX_BACKUP_NETWORKS "permit_mx_backup_networks" Networks = "", Honoured("smtpd"),
        "Networks of the primary servers for which backup service is allowed.";
    PLAINTEXT_REJECT_CODE "plaintext_reject_code" Int = "450", Honoured("smtpd"),
        "The reply code for a session without encryption.";
    RBL_REPLY_MAPS "rbl_reply_maps" Maps = "", Honoured("smtpd"),
        "Replies for single block lists.";
    REJECT_TEMPFAIL_ACTION "reject_tempfail_action" Text = "defer_if_permit", Honoured("default of the unknown_…_tempfail_action parameters"),
        "What follows when a restriction that refuses cannot decide.";
    SHOW_USER_UNKNOWN_TABLE_NAME "show_user_unknown_table_name" Bool = "yes", Honoured("resolve"),
        "Whether a refusal says in which table a recipient was not found.";
    SMTPD_LOG_ACCESS_PERMIT_ACTIONS "smtpd_log_access_permit_actions" List = "", Honoured("smtpd"),
        "Permissions that are logged.";
    SMTPD_NULL_ACCESS_LOOKUP_KEY "smtpd_null_access_lookup_key" Text = "<>", Honoured("smtpd"),
        "The key of the empty sender in access tables.";
    SMTPD_POLICY_SERVICE_DEFAULT_ACTION "smtpd_policy_service_default_action" Text = "451 4.3.5 Server configuration problem", Honoured("smtpd"),
        "The action when a policy service cannot be asked.";
    SMTPD_POLICY_SERVICE_MAX_IDLE "smtpd_policy_service_max_idle" Time(Seconds) = "300s", Honoured("smtpd"),
        "How long an unused policy connection stays open.";
    SMTPD_POLICY_SERVICE_MAX_TTL "smtpd_policy_service_max_ttl" Time(Seconds) = "1000s", Honoured("smtpd"),
        "How long a policy connection may be used.";
    SMTPD_POLICY_SERVICE_POLICY_CONTEXT "smtpd_policy_service_policy_context" Text = "", Honoured("smtpd"),
        "A text that is sent with every policy request.";
    SMTPD_POLICY_SERVICE_REQUEST_LIMIT "smtpd_policy_service_request_limit" Int = "0", Honoured("smtpd"),
        "How many requests one policy connection carries.";
    SMTPD_POLICY_SERVICE_RETRY_DELAY "smtpd_policy_service_retry_delay" Time(Seconds) = "1s", Honoured("smtpd"),
        "The pause before a policy service is asked again.";
    SMTPD_POLICY_SERVICE_TIMEOUT "smtpd_policy_service_timeout" Time(Seconds) = "100s", Honoured("smtpd"),
        "The longest wait for a policy service.";
    SMTPD_POLICY_SERVICE_TRY_LIMIT "smtpd_policy_service_try_limit" Int = "2", Honoured("smtpd"),
        "How often a policy service is asked.";
    SMTPD_RESTRICTION_CLASSES "smtpd_restriction_classes" List = "", Honoured("smtpd"),
        "Names that stand for lists of restrictions.";
    UNKNOWN_ADDRESS_REJECT_CODE "unknown_address_reject_code" Int = "450", Honoured("smtpd"),
        "The reply code for an address whose domain does not exist.";
    UNKNOWN_ADDRESS_TEMPFAIL_ACTION "unknown_address_tempfail_action" Text = "$reject_tempfail_action", Honoured("smtpd"),
        "What follows when a domain cannot be looked up.";
    UNKNOWN_CLIENT_REJECT_CODE "unknown_client_reject_code" Int = "450", Honoured("smtpd"),
        "The reply code for a client without a verified name.";
    UNKNOWN_HELO_HOSTNAME_TEMPFAIL_ACTION "unknown_helo_hostname_tempfail_action" Text = "$reject_tempfail_action", Honoured("smtpd"),
        "What follows when a HELO name cannot be looked up.";
    UNKNOWN_HOSTNAME_REJECT_CODE "unknown_hostname_reject_code" Int = "450", Honoured("smtpd"),
        "The reply code for a HELO name that does not exist.";
    UNKNOWN_LOCAL_RECIPIENT_REJECT_CODE "unknown_local_recipient_reject_code" Int = "550", Honoured("smtpd"),
        "The reply code for an unknown local recipient.";
    UNKNOWN_RELAY_RECIPIENT_REJECT_CODE "unknown_relay_recipient_reject_code" Int = "550", Honoured("smtpd"),
        "The reply code for an unknown recipient in a relay domain.";
    UNKNOWN_VIRTUAL_ALIAS_REJECT_CODE "unknown_virtual_alias_reject_code" Int = "550", Honoured("smtpd"),
        "The reply code for an unknown recipient in a virtual alias domain.";
    UNKNOWN_VIRTUAL_MAILBOX_REJECT_CODE "unknown_virtual_mailbox_reject_code" Int = "550", Honoured("smtpd"),
        "The reply code for an unknown recipient in a virtual mailbox domain.";
    UNVERIFIED_RECIPIENT_DEFER_CODE "unverified_recipient_defer_code" Int = "450", Honoured("verify"),
        "The reply code while a recipient is being verified.";
    UNVERIFIED_RECIPIENT_REJECT_CODE "unverified_recipient_reject_code" Int = "450", Honoured("verify"),
        "The reply code when verification of a recipient failed.";
    UNVERIFIED_RECIPIENT_REJECT_REASON "unverified_recipient_reject_reason" Raw = "", Honoured("verify"),
        "The text when verification of a recipient failed.";
    UNVERIFIED_RECIPIENT_TEMPFAIL_ACTION "unverified_recipient_tempfail_action" Text = "$reject_tempfail_action", Honoured("verify"),
        "What follows when a recipient cannot be verified now.";
    UNVERIFIED_SENDER_DEFER_CODE "unverified_sender_defer_code" Int = "450", Honoured("verify"),
        "The reply code while a sender is being verified.";
    UNVERIFIED_SENDER_REJECT_CODE "unverified_sender_reject_code" Int = "450", Honoured("verify"),
        "The reply code when verification of a sender failed.";
    UNVERIFIED_SENDER_REJECT_REASON "unverified_sender_reject_reason" Raw = "", Honoured("verify"),
        "The text when verification of a sender failed.";
    UNVERIFIED_SENDER_TEMPFAIL_ACTION "unverified_sender_tempfail_action" Text = "$reject_tempfail_action", Honoured("verify"),
        "What follows when a sender cannot be verified now.";
}
