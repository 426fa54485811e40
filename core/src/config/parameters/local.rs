//! Delivery to users of this host, and to mailboxes without users.

use crate::config::parameter::{Weakens, parameters};

parameters! {
    ALIAS_DATABASE "alias_database" List = "hash:/etc/aliases", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "Alias files that the newaliases command rebuilds.";
    ALIAS_MAPS "alias_maps" Maps = "hash:/etc/aliases, nis:mail.aliases", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "Tables of aliases.";
    ALLOW_MAIL_TO_COMMANDS "allow_mail_to_commands" List = "alias, forward", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "Where a recipient may be a command.";
    ALLOW_MAIL_TO_FILES "allow_mail_to_files" List = "alias, forward", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "Where a recipient may be a file.";
    ALLOW_MIN_USER "allow_min_user" Bool = "no", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "Whether a recipient may begin with a minus sign.";
    BERKELEY_DB_CREATE_BUFFER_SIZE "berkeley_db_create_buffer_size" Size = "16777216", WithoutEffect("hash and btree tables have a form of our own"),
        "The buffer for making Berkeley DB tables.";
    BERKELEY_DB_READ_BUFFER_SIZE "berkeley_db_read_buffer_size" Size = "131072", WithoutEffect("hash and btree tables have a form of our own"),
        "The buffer for reading Berkeley DB tables.";
    BIFF "biff" Bool = "yes", WithoutEffect("nobody is told of new mail"),
        "Whether users are told of new mail.";
    COMMAND_EXECUTION_DIRECTORY "command_execution_directory" Raw = "", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "The directory in which commands run.";
    COMMAND_EXPANSION_FILTER "command_expansion_filter" Raw = "1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "Characters that may stand in expanded commands.";
    COMMAND_TIME_LIMIT "command_time_limit" Time(Seconds) = "1000s", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "How long a command may run.";
    DELIVER_LOCK_ATTEMPTS "deliver_lock_attempts" Int = "20", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "How often locking a mailbox is tried.";
    DELIVER_LOCK_DELAY "deliver_lock_delay" Time(Seconds) = "1s", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "The pause between attempts to lock a mailbox.";
    EXECUTION_DIRECTORY_EXPANSION_FILTER "execution_directory_expansion_filter" Raw = "1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "Characters that may stand in an expanded directory.";
    EXPAND_OWNER_ALIAS "expand_owner_alias" Bool = "no", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "Whether the address of a list's owner is expanded.";
    FALLBACK_TRANSPORT "fallback_transport" Raw = "", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "The transport of mail for users who are not found.";
    FALLBACK_TRANSPORT_MAPS "fallback_transport_maps" Maps = "", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "Transports of single users who are not found.";
    FORWARD_EXPANSION_FILTER "forward_expansion_filter" Raw = "1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "Characters that may stand in an expanded forward path.";
    FORWARD_PATH "forward_path" Raw = "$home/.forward${recipient_delimiter}${extension}, $home/.forward", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "Where a user's forward file is looked for.";
    FROZEN_DELIVERED_TO "frozen_delivered_to" Bool = "yes", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "Whether Delivered-To is set once for all members of a list.";
    HOME_MAILBOX "home_mailbox" Raw = "", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "The mailbox below a user's home directory.";
    LMDB_MAP_SIZE "lmdb_map_size" Size = "16777216", WithoutEffect("a table is as large as its content"),
        "The first size of an LMDB table.";
    LOCAL_COMMAND_SHELL "local_command_shell" Text = "", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "The shell that runs commands.";
    LOCAL_DELIVERY_STATUS_FILTER "local_delivery_status_filter" Maps = "$default_delivery_status_filter", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "Tables that change the status of local deliveries.";
    LOCAL_DESTINATION_CONCURRENCY_LIMIT "local_destination_concurrency_limit" Int = "2", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "The most deliveries at a time to one local user.";
    LOCAL_DESTINATION_RECIPIENT_LIMIT "local_destination_recipient_limit" Int = "1", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "The most recipients of one local delivery.";
    LOCAL_LOGIN_SENDER_MAPS "local_login_sender_maps" Maps = "static:*", WithoutEffect("local submission is not served yet"),
        "Senders that a login name may use.";
    LOCAL_RECIPIENT_MAPS "local_recipient_maps" Maps = "proxy:unix:passwd.byname $alias_maps", Honoured("smtpd, when set"),
        "Tables of local recipients; others are refused.";
    LOCAL_TRANSPORT "local_transport" Text = "local:$myhostname", Honoured("resolve"),
        "The transport of mail for local domains.";
    LUSER_RELAY "luser_relay" Raw = "", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "The address that gets mail for unknown local users.";
    MAIL_SPOOL_DIRECTORY "mail_spool_directory" Text = "/var/mail", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "The directory of mailboxes.";
    MAILBOX_COMMAND "mailbox_command" Raw = "", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "The command that delivers to a mailbox.";
    MAILBOX_COMMAND_MAPS "mailbox_command_maps" Maps = "", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "Commands of single users.";
    MAILBOX_DELIVERY_LOCK "mailbox_delivery_lock" List = "fcntl, dotlock", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "How mailboxes are locked.";
    MAILBOX_SIZE_LIMIT "mailbox_size_limit" Size = "51200000", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "The largest mailbox; 0 for no limit.";
    MAILBOX_TRANSPORT "mailbox_transport" Raw = "", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "The transport that delivers to mailboxes.";
    MAILBOX_TRANSPORT_MAPS "mailbox_transport_maps" Maps = "", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "Transports of single users' mailboxes.";
    OWNER_REQUEST_SPECIAL "owner_request_special" Bool = "yes", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "Whether owner-list and list-request are special.";
    PIPE_DELIVERY_STATUS_FILTER "pipe_delivery_status_filter" Maps = "$default_delivery_status_filter", Refused { reason: "delivery to commands is not served yet", weakens: Weakens::Never },
        "Tables that change the status of deliveries to commands.";
    PREPEND_DELIVERED_HEADER "prepend_delivered_header" List = "command, file, forward", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "Deliveries that get a Delivered-To header.";
    REQUIRE_HOME_DIRECTORY "require_home_directory" Bool = "no", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "Whether a user's home directory must exist.";
    RESET_OWNER_ALIAS "reset_owner_alias" Bool = "no", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "Whether the owner changes with each alias.";
    STRICT_MAILBOX_OWNERSHIP "strict_mailbox_ownership" Bool = "yes", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "Whether a mailbox must belong to its user.";
    SUN_MAILTOOL_COMPATIBILITY "sun_mailtool_compatibility" Bool = "no", Refused { reason: "local delivery is not served yet", weakens: Weakens::Never },
        "Whether an old lock of mailboxes is used.";
    VIRTUAL_DELIVERY_STATUS_FILTER "virtual_delivery_status_filter" Maps = "$default_delivery_status_filter", Refused { reason: "virtual mailboxes are not served yet", weakens: Weakens::Never },
        "Tables that change the status of deliveries to virtual mailboxes.";
    VIRTUAL_GID_MAPS "virtual_gid_maps" Maps = "", Refused { reason: "virtual mailboxes are not served yet", weakens: Weakens::Never },
        "Groups of virtual mailboxes.";
    VIRTUAL_MAILBOX_BASE "virtual_mailbox_base" Text = "", Refused { reason: "virtual mailboxes are not served yet", weakens: Weakens::Never },
        "The directory above all virtual mailboxes.";
    VIRTUAL_MAILBOX_DOMAINS "virtual_mailbox_domains" Domains = "$virtual_mailbox_maps", Honoured("resolve"),
        "Domains of virtual mailboxes.";
    VIRTUAL_MAILBOX_LIMIT "virtual_mailbox_limit" Size = "51200000", Refused { reason: "virtual mailboxes are not served yet", weakens: Weakens::Never },
        "The largest virtual mailbox; 0 for no limit.";
    VIRTUAL_MAILBOX_LOCK "virtual_mailbox_lock" List = "fcntl, dotlock", Refused { reason: "virtual mailboxes are not served yet", weakens: Weakens::Never },
        "How virtual mailboxes are locked.";
    VIRTUAL_MAILBOX_MAPS "virtual_mailbox_maps" Maps = "", Honoured("smtpd"),
        "Tables of virtual mailboxes.";
    VIRTUAL_MINIMUM_UID "virtual_minimum_uid" Int = "100", Refused { reason: "virtual mailboxes are not served yet", weakens: Weakens::Never },
        "The least user id of a virtual mailbox.";
    VIRTUAL_TRANSPORT "virtual_transport" Text = "virtual", Honoured("resolve"),
        "The transport of mail for virtual mailboxes.";
    VIRTUAL_UID_MAPS "virtual_uid_maps" Maps = "", Refused { reason: "virtual mailboxes are not served yet", weakens: Weakens::Never },
        "Users of virtual mailboxes.";
}
