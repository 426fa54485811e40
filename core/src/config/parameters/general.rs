//! Who and where this mail system is: names, addresses, files, logging.

use crate::config::parameter::parameters;

parameters! {
    COMPATIBILITY_LEVEL "compatibility_level" Level = "0", Honoured("every parameter whose default depends on it"),
        "The Postfix level whose defaults a configuration was written for.";
    DELAY_LOGGING_RESOLUTION_LIMIT "delay_logging_resolution_limit" Int(0, 6) = "2", Honoured("log"),
        "The most decimals in logged delays.";
    ENABLE_LONG_QUEUE_IDS "enable_long_queue_ids" Bool = "yes", WithoutEffect("queue ids always have the long form, which is never used twice"),
        "Whether queue ids have the long form.";
    INET_INTERFACES "inet_interfaces" List = "all", Honoured("listeners, default of mynetworks"),
        "The addresses at which mail is received: all, loopback-only, or names and addresses.";
    INET_PROTOCOLS "inet_protocols" List = "all", Honoured("listeners, smtp"),
        "The versions of IP in use: all, ipv4, ipv6.";
    MAIL_NAME "mail_name" Text = "Ringpost", Honoured("smtpd, cleanup"),
        "The name of the mail system in the banner and in Received headers.";
    MAIL_VERSION "mail_version" Text = "", Honoured("banner, log"),
        "The version of the mail system; by default this program's.";
    MAILLOG_FILE "maillog_file" Text = "", Honoured("log"),
        "The file of the log, or /dev/stdout; empty for standard error.";
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
    PARENT_DOMAIN_MATCHES_SUBDOMAINS "parent_domain_matches_subdomains" List = "debug_peer_list,fast_flush_domains,mynetworks,permit_mx_backup_networks,qmqpd_authorized_clients,relay_domains,smtpd_access_maps", Honoured("lists of domains"),
        "Parameters in whose lists a bare domain also stands for its sub-domains.";
    QUEUE_DIRECTORY "queue_directory" Text = "/var/spool/postfix", Honoured("spool"),
        "The directory of the queue.";
    RELAY_DOMAINS "relay_domains" Domains = "${{$compatibility_level} <level {2} ? {$mydestination} : {}}", Honoured("smtpd"),
        "Domains for which mail from strangers is relayed.";
    SOFT_BOUNCE "soft_bounce" Bool = "no", Honoured("smtpd, smtp"),
        "Whether every permanent refusal becomes a temporary one, here and from remote servers.";
    SYSLOG_NAME "syslog_name" Text = "${multi_instance_name?{$multi_instance_name}:{postfix}}", Honoured("log"),
        "The name before the slash in every log line.";
}
