//! Who and where this mail system is: names, addresses, files, logging.

use crate::config::parameter::parameters;

parameters! {
    ALTERNATE_CONFIG_DIRECTORIES "alternate_config_directories" Text = "", WithoutEffect("only the directory that -c names is read"),
        "Further configuration directories that commands may use.";
    APPLICATION_EVENT_DRAIN_TIME "application_event_drain_time" Time(Seconds) = "100s", WithoutEffect("ringpost_drain_limit rules the stop"),
        "How long pending events may take before a process ends.";
    BACKWARDS_BOUNCE_LOGFILE_COMPATIBILITY "backwards_bounce_logfile_compatibility" Bool = "yes", WithoutEffect("bounce reasons are kept in the spool"),
        "Whether bounce log files have the older format as well.";
    COMMAND_DIRECTORY "command_directory" Text = "/usr/sbin", WithoutEffect("one program holds all commands"),
        "The directory of the administrator's commands.";
    COMPATIBILITY_LEVEL "compatibility_level" Level = "0", Honoured("every parameter whose default depends on it"),
        "The Postfix level whose defaults a configuration was written for.";
    CONFIG_DIRECTORY "config_directory" Text = "/etc/postfix", WithoutEffect("the directory is the one that -c names"),
        "The directory of the configuration.";
    DAEMON_DIRECTORY "daemon_directory" Text = "/usr/libexec/postfix", WithoutEffect("one program holds all services"),
        "The directory of the daemons.";
    DATA_DIRECTORY "data_directory" Text = "/var/lib/postfix", Honoured("default of address_verify_map"),
        "The directory of caches and random state.";
    DEBUG_PEER_LEVEL "debug_peer_level" Int = "2", WithoutEffect("there is no log of single peers"),
        "How much more is logged of the peers in debug_peer_list.";
    DEBUG_PEER_LIST "debug_peer_list" Text = "", WithoutEffect("there is no log of single peers"),
        "Peers of whom more is logged.";
    DEBUGGER_COMMAND "debugger_command" Raw = "", WithoutEffect("no debugger is started"),
        "The command that attaches a debugger to a daemon.";
    DEFAULT_DATABASE_TYPE "default_database_type" Text = "hash", Honoured("lookup tables"),
        "The type of table that commands make when none is named.";
    DEFAULT_PRIVS "default_privs" Text = "nobody", WithoutEffect("no command is run for recipients"),
        "The user under whom deliveries to commands and files run.";
    DELAY_LOGGING_RESOLUTION_LIMIT "delay_logging_resolution_limit" Int(0, 6) = "2", Honoured("log"),
        "The most decimals in logged delays.";
    DESTINATION_CONCURRENCY_FEEDBACK_DEBUG "destination_concurrency_feedback_debug" Bool = "no", WithoutEffect("the counters show the windows"),
        "Whether every step of the concurrency feedback is logged.";
    DONT_REMOVE "dont_remove" Int = "0", WithoutEffect("removed messages leave the log with their segment"),
        "Whether delivered messages are kept.";
    ENABLE_LONG_QUEUE_IDS "enable_long_queue_ids" Bool = "yes", WithoutEffect("queue ids always have the long form, which is never used twice"),
        "Whether queue ids have the long form.";
    EXPORT_ENVIRONMENT "export_environment" Text = "TZ MAIL_CONFIG LANG", WithoutEffect("no command is run"),
        "Environment variables that commands get.";
    FAULT_INJECTION_CODE "fault_injection_code" Int = "0", WithoutEffect("faults are injected by tests only"),
        "The number of a fault to be provoked, for tests.";
    HASH_QUEUE_DEPTH "hash_queue_depth" Int = "1", WithoutEffect("the queue is a log, not a tree"),
        "How many levels of sub-directories a queue has.";
    HASH_QUEUE_NAMES "hash_queue_names" Text = "deferred, defer", WithoutEffect("the queue is a log, not a tree"),
        "Queues that have sub-directories.";
    HELPFUL_WARNINGS "helpful_warnings" Bool = "yes", WithoutEffect("warnings are always given"),
        "Whether warnings about likely mistakes are logged.";
    HTML_DIRECTORY "html_directory" Text = "no", WithoutEffect("nothing is installed there"),
        "The directory of the documents in HTML.";
    IMPORT_ENVIRONMENT "import_environment" Text = "MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ XAUTHORITY DISPLAY LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME", WithoutEffect("the environment is not read"),
        "Environment variables that daemons keep.";
    INET_INTERFACES "inet_interfaces" List = "all", Honoured("listeners, default of mynetworks"),
        "The addresses at which mail is received: all, loopback-only, or names and addresses.";
    INET_PROTOCOLS "inet_protocols" List = "all", Honoured("listeners, smtp"),
        "The versions of IP in use: all, ipv4, ipv6.";
    INFO_LOG_ADDRESS_FORMAT "info_log_address_format" Text = "external", WithoutEffect("addresses are logged as in SMTP"),
        "How addresses are quoted in the log.";
    KNOWN_TCP_PORTS "known_tcp_ports" Text = "lmtp=24, smtp=25, smtps=submissions=465, submission=587", WithoutEffect("port names are built in"),
        "Names of ports that are known without the system's table.";
    MAIL_NAME "mail_name" Text = "Ringpost", Honoured("smtpd, cleanup"),
        "The name of the mail system in the banner and in Received headers.";
    MAIL_OWNER "mail_owner" Text = "postfix", WithoutEffect("the engine runs as the user who starts it"),
        "The user who owns the queue.";
    MAIL_RELEASE_DATE "mail_release_date" Text = "20261122", WithoutEffect("the version says enough"),
        "The date of this release.";
    MAIL_VERSION "mail_version" Text = "", Honoured("banner, log"),
        "The version of the mail system; by default this program's.";
    MAILLOG_FILE "maillog_file" Text = "", Honoured("log"),
        "The file of the log, or /dev/stdout; empty for standard error.";
    MAILLOG_FILE_COMPRESSOR "maillog_file_compressor" Text = "gzip", WithoutEffect("the log is rotated by the system"),
        "The program that compresses a rotated log file.";
    MAILLOG_FILE_PREFIXES "maillog_file_prefixes" Text = "/var, /dev/stdout", WithoutEffect("any file that the user may write will do"),
        "The directories in which a log file may lie.";
    MAILLOG_FILE_ROTATE_SUFFIX "maillog_file_rotate_suffix" Raw = "%Y%m%d-%H%M%S", WithoutEffect("the log is rotated by the system"),
        "The ending of a rotated log file.";
    MAILQ_PATH "mailq_path" Text = "/usr/bin/mailq", WithoutEffect("one program holds all commands"),
        "The path of the mailq command.";
    MANPAGE_DIRECTORY "manpage_directory" Text = "/usr/local/man", WithoutEffect("nothing is installed there"),
        "The directory of the manual pages.";
    META_DIRECTORY "meta_directory" Text = "/etc/postfix", WithoutEffect("nothing is installed there"),
        "The directory of lists of installed files.";
    MULTI_INSTANCE_DIRECTORIES "multi_instance_directories" Text = "", WithoutEffect("each instance is started by itself"),
        "The configuration directories of further instances.";
    MULTI_INSTANCE_ENABLE "multi_instance_enable" Bool = "no", WithoutEffect("each instance is started by itself"),
        "Whether the instance manager starts this instance.";
    MULTI_INSTANCE_GROUP "multi_instance_group" Text = "", WithoutEffect("each instance is started by itself"),
        "The group of this instance.";
    MULTI_INSTANCE_NAME "multi_instance_name" Text = "", Honoured("default of syslog_name"),
        "The name of this instance.";
    MULTI_INSTANCE_WRAPPER "multi_instance_wrapper" Text = "", WithoutEffect("each instance is started by itself"),
        "The command that manages several instances.";
    MYDESTINATION "mydestination" Domains = "$myhostname, localhost.$mydomain, localhost", Honoured("smtpd"),
        "Domains that end here, for the decision who may send to them.";
    MYDOMAIN "mydomain" Text = "", Honoured("defaults of other parameters"),
        "This system's domain; by default myhostname without its first label.";
    MYHOSTNAME "myhostname" Text = "", Honoured("smtpd, cleanup, smtp, log"),
        "This system's name on the Internet; by default the host's own, completed with mydomain.";
    MYNETWORKS "mynetworks" Networks = "", Honoured("smtpd, cleanup"),
        "Trusted clients; by default the networks of this host's interfaces as mynetworks_style says.";
    MYNETWORKS_STYLE "mynetworks_style" Word("host" "subnet" "class") = "${{$compatibility_level} <level {2} ? {subnet} : {host}}", Honoured("default of mynetworks"),
        "How far the default of mynetworks reaches around this host's addresses.";
    MYORIGIN "myorigin" Text = "$myhostname", Honoured("cleanup"),
        "The domain that is added to addresses without one.";
    NEWALIASES_PATH "newaliases_path" Text = "/usr/bin/newaliases", WithoutEffect("one program holds all commands"),
        "The path of the newaliases command.";
    OPENSSL_PATH "openssl_path" Text = "openssl", WithoutEffect("no openssl command is run"),
        "The path of the openssl command.";
    PARENT_DOMAIN_MATCHES_SUBDOMAINS "parent_domain_matches_subdomains" List = "debug_peer_list,fast_flush_domains,mynetworks,permit_mx_backup_networks,qmqpd_authorized_clients,relay_domains,smtpd_access_maps", Honoured("lists of domains"),
        "Parameters in whose lists a bare domain also stands for its sub-domains.";
    POSTMULTI_CONTROL_COMMANDS "postmulti_control_commands" Text = "reload flush", WithoutEffect("each instance is started by itself"),
        "Commands that the instance manager gives to running instances.";
    POSTMULTI_START_COMMANDS "postmulti_start_commands" Text = "start", WithoutEffect("each instance is started by itself"),
        "Commands with which the instance manager starts instances.";
    POSTMULTI_STOP_COMMANDS "postmulti_stop_commands" Text = "stop abort drain quick-stop", WithoutEffect("each instance is started by itself"),
        "Commands with which the instance manager stops instances.";
    PROCESS_ID "process_id" Int = "8025", WithoutEffect("all services are one process"),
        "The process id, for references.";
    PROCESS_ID_DIRECTORY "process_id_directory" Text = "pid", WithoutEffect("one lock file guards the queue directory"),
        "The directory of process id files, below the queue directory.";
    PROCESS_NAME "process_name" Text = "postconf", WithoutEffect("all services are one process"),
        "The name of the process, for references.";
    PROXY_INTERFACES "proxy_interfaces" List = "", Honoured("resolve, smtp"),
        "Addresses at which this system receives mail through a proxy or address translator.";
    QUEUE_DIRECTORY "queue_directory" Text = "/var/spool/postfix", Honoured("spool"),
        "The directory of the queue.";
    QUEUE_FILE_ATTRIBUTE_COUNT_LIMIT "queue_file_attribute_count_limit" Int = "100", WithoutEffect("the queue has no such attributes"),
        "The most attributes of a queue file.";
    README_DIRECTORY "readme_directory" Text = "no", WithoutEffect("nothing is installed there"),
        "The directory of the documents as text.";
    RELAY_DOMAINS "relay_domains" Domains = "${{$compatibility_level} <level {2} ? {$mydestination} : {}}", Honoured("smtpd"),
        "Domains for which mail from strangers is relayed.";
    RESPECTFUL_LOGGING "respectful_logging" Bool = "${{$compatibility_level} <level {3.6} ? {no} : {yes}}", WithoutEffect("only the respectful words are used"),
        "Whether logs say allowlist and denylist.";
    SAMPLE_DIRECTORY "sample_directory" Text = "/etc/postfix", WithoutEffect("nothing is installed there"),
        "The directory of sample configurations.";
    SENDMAIL_PATH "sendmail_path" Text = "/usr/sbin/sendmail", WithoutEffect("one program holds all commands"),
        "The path of the sendmail command.";
    SERVICE_NAME "service_name" Text = "", Honoured("references in a service's settings"),
        "The name of the service, for references.";
    SETGID_GROUP "setgid_group" Text = "postdrop", WithoutEffect("no command runs with a group of its own"),
        "The group of the submission and queue commands.";
    SHLIB_DIRECTORY "shlib_directory" Text = "no", WithoutEffect("nothing is loaded at run time"),
        "The directory of shared libraries.";
    SOFT_BOUNCE "soft_bounce" Bool = "no", Honoured("smtpd, smtp"),
        "Whether every permanent refusal becomes a temporary one, here and from remote servers.";
    STALE_LOCK_TIME "stale_lock_time" Time(Seconds) = "500s", WithoutEffect("the lock of the queue ends with its holder"),
        "The age from which a lock file is taken to be left over.";
    STRESS "stress" Text = "", Honoured("smtpd"),
        "Empty, or yes while a server is overloaded, for references.";
    SYSLOG_FACILITY "syslog_facility" Text = "mail", WithoutEffect("the log goes to maillog_file"),
        "The syslog facility of the log.";
    SYSLOG_NAME "syslog_name" Text = "${multi_instance_name?{$multi_instance_name}:{postfix}}", Honoured("log"),
        "The name before the slash in every log line.";
    TCP_WINDOWSIZE "tcp_windowsize" Size = "0", WithoutEffect("the kernel chooses the window"),
        "The TCP window size; 0 for the kernel's choice.";
}
