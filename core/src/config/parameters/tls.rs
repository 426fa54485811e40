//! TLS in the server, the client and the TLS proxy.

use crate::config::parameter::{Weakens, parameters};

parameters! {
    LMTP_ENFORCE_TLS "lmtp_enforce_tls" Bool = "no", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: whether TLS is required, the older form.";
    LMTP_STARTTLS_TIMEOUT "lmtp_starttls_timeout" Time(Seconds) = "300s", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: the longest wait in a TLS handshake.";
    LMTP_TLS_CAFILE "lmtp_tls_CAfile" Text = "", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: a file of trusted certification authorities.";
    LMTP_TLS_CAPATH "lmtp_tls_CApath" Text = "", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: a directory of trusted certification authorities.";
    LMTP_TLS_BLOCK_EARLY_MAIL_REPLY "lmtp_tls_block_early_mail_reply" Bool = "no", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: whether an answer that came before its time under TLS is refused.";
    LMTP_TLS_CERT_FILE "lmtp_tls_cert_file" Text = "", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: the RSA certificate of this system, in PEM form.";
    LMTP_TLS_CHAIN_FILES "lmtp_tls_chain_files" List = "", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: files of keys and certificate chains.";
    LMTP_TLS_CIPHERS "lmtp_tls_ciphers" Text = "medium", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: the least grade of ciphers where TLS is optional.";
    LMTP_TLS_CONNECTION_REUSE "lmtp_tls_connection_reuse" Bool = "no", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: whether connections under TLS are used again.";
    LMTP_TLS_DCERT_FILE "lmtp_tls_dcert_file" Text = "", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: the DSA certificate of this system.";
    LMTP_TLS_DKEY_FILE "lmtp_tls_dkey_file" Text = "$lmtp_tls_dcert_file", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: the key of the DSA certificate.";
    LMTP_TLS_ECCERT_FILE "lmtp_tls_eccert_file" Text = "", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: the ECDSA certificate of this system.";
    LMTP_TLS_ECKEY_FILE "lmtp_tls_eckey_file" Text = "$lmtp_tls_eccert_file", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: the key of the ECDSA certificate.";
    LMTP_TLS_ENFORCE_PEERNAME "lmtp_tls_enforce_peername" Bool = "yes", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: whether the server's name must match its certificate.";
    LMTP_TLS_EXCLUDE_CIPHERS "lmtp_tls_exclude_ciphers" List = "", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: ciphers that are never used.";
    LMTP_TLS_FINGERPRINT_CERT_MATCH "lmtp_tls_fingerprint_cert_match" List = "", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: fingerprints of servers' certificates.";
    LMTP_TLS_FINGERPRINT_DIGEST "lmtp_tls_fingerprint_digest" Text = "${{$compatibility_level} <level {3.6} ? {md5} : {sha256}}", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: the digest by which certificates are compared.";
    LMTP_TLS_FORCE_INSECURE_HOST_TLSA_LOOKUP "lmtp_tls_force_insecure_host_tlsa_lookup" Bool = "no", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: whether TLSA records are looked up for hosts without DNSSEC.";
    LMTP_TLS_KEY_FILE "lmtp_tls_key_file" Text = "$lmtp_tls_cert_file", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: the key of the RSA certificate.";
    LMTP_TLS_LOGLEVEL "lmtp_tls_loglevel" Int = "0", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: how much of TLS is logged.";
    LMTP_TLS_MANDATORY_CIPHERS "lmtp_tls_mandatory_ciphers" Text = "medium", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: the least grade of ciphers where TLS is required.";
    LMTP_TLS_MANDATORY_EXCLUDE_CIPHERS "lmtp_tls_mandatory_exclude_ciphers" List = "", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: ciphers that are not used where TLS is required.";
    LMTP_TLS_MANDATORY_PROTOCOLS "lmtp_tls_mandatory_protocols" Text = ">=TLSv1", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: versions of TLS where it is required.";
    LMTP_TLS_NOTE_STARTTLS_OFFER "lmtp_tls_note_starttls_offer" Bool = "no", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: whether servers that offer TLS are logged.";
    LMTP_TLS_PER_SITE "lmtp_tls_per_site" List = "", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: tables of TLS use by server, the older form.";
    LMTP_TLS_POLICY_MAPS "lmtp_tls_policy_maps" Maps = "", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: tables of TLS policies by next hop.";
    LMTP_TLS_PROTOCOLS "lmtp_tls_protocols" Text = ">=TLSv1", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: versions of TLS where it is optional.";
    LMTP_TLS_SCERT_VERIFYDEPTH "lmtp_tls_scert_verifydepth" Int = "9", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: how long the chain of a server's certificate may be.";
    LMTP_TLS_SECURE_CERT_MATCH "lmtp_tls_secure_cert_match" List = "nexthop", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: which names count at level secure.";
    LMTP_TLS_SECURITY_LEVEL "lmtp_tls_security_level" Text = "", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: whether TLS is used: none, may, encrypt and stricter.";
    LMTP_TLS_SERVERNAME "lmtp_tls_servername" Text = "", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: the name sent by SNI.";
    LMTP_TLS_SESSION_CACHE_DATABASE "lmtp_tls_session_cache_database" Text = "", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: the table of TLS sessions.";
    LMTP_TLS_SESSION_CACHE_TIMEOUT "lmtp_tls_session_cache_timeout" Time(Seconds) = "3600s", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: how long a TLS session can be resumed.";
    LMTP_TLS_TRUST_ANCHOR_FILE "lmtp_tls_trust_anchor_file" List = "", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: files of trust anchors instead of public authorities.";
    LMTP_TLS_VERIFY_CERT_MATCH "lmtp_tls_verify_cert_match" List = "hostname", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: which names count at level verify.";
    LMTP_TLS_WRAPPERMODE "lmtp_tls_wrappermode" Bool = "no", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: whether TLS begins before SMTP does.";
    LMTP_USE_TLS "lmtp_use_tls" Bool = "no", WithoutEffect("the LMTP client is not served yet"),
        "LMTP client: whether TLS is used where the other side can, the older form.";
    SMTP_ENFORCE_TLS "smtp_enforce_tls" Bool = "no", Honoured("smtp"),
        "SMTP client: whether TLS is required, the older form.";
    SMTP_STARTTLS_TIMEOUT "smtp_starttls_timeout" Time(Seconds) = "300s", Honoured("smtp"),
        "SMTP client: the longest wait in a TLS handshake.";
    SMTP_TLS_CAFILE "smtp_tls_CAfile" Text = "", Honoured("smtp"),
        "SMTP client: a file of trusted certification authorities.";
    SMTP_TLS_CAPATH "smtp_tls_CApath" Text = "", Honoured("smtp"),
        "SMTP client: a directory of trusted certification authorities.";
    SMTP_TLS_BLOCK_EARLY_MAIL_REPLY "smtp_tls_block_early_mail_reply" Bool = "no", WithoutEffect("replies before their time always end a session"),
        "SMTP client: whether an answer that came before its time under TLS is refused.";
    SMTP_TLS_CERT_FILE "smtp_tls_cert_file" Text = "", Honoured("smtp"),
        "SMTP client: the RSA certificate of this system, in PEM form.";
    SMTP_TLS_CHAIN_FILES "smtp_tls_chain_files" List = "", Honoured("smtp"),
        "SMTP client: files of keys and certificate chains.";
    SMTP_TLS_CIPHERS "smtp_tls_ciphers" Text = "medium", WithoutEffect("all ciphers that are served are of the highest grade"),
        "SMTP client: the least grade of ciphers where TLS is optional.";
    SMTP_TLS_CONNECTION_REUSE "smtp_tls_connection_reuse" Bool = "no", Honoured("smtp"),
        "SMTP client: whether connections under TLS are used again.";
    SMTP_TLS_DANE_INSECURE_MX_POLICY "smtp_tls_dane_insecure_mx_policy" Text = "${{$smtp_tls_security_level} == {dane} ? {dane} : {may}}", WithoutEffect("DANE is not served yet"),
        "SMTP client: what DANE means where mail exchangers were found without DNSSEC.";
    SMTP_TLS_DCERT_FILE "smtp_tls_dcert_file" Text = "", WithoutEffect("DSA is not served"),
        "SMTP client: the DSA certificate of this system.";
    SMTP_TLS_DKEY_FILE "smtp_tls_dkey_file" Text = "$smtp_tls_dcert_file", WithoutEffect("DSA is not served"),
        "SMTP client: the key of the DSA certificate.";
    SMTP_TLS_ECCERT_FILE "smtp_tls_eccert_file" Text = "", Honoured("smtp"),
        "SMTP client: the ECDSA certificate of this system.";
    SMTP_TLS_ECKEY_FILE "smtp_tls_eckey_file" Text = "$smtp_tls_eccert_file", Honoured("smtp"),
        "SMTP client: the key of the ECDSA certificate.";
    SMTP_TLS_ENFORCE_PEERNAME "smtp_tls_enforce_peername" Bool = "yes", Honoured("smtp"),
        "SMTP client: whether the server's name must match its certificate.";
    SMTP_TLS_EXCLUDE_CIPHERS "smtp_tls_exclude_ciphers" List = "", WithoutEffect("all ciphers that are served are of the highest grade"),
        "SMTP client: ciphers that are never used.";
    SMTP_TLS_FINGERPRINT_CERT_MATCH "smtp_tls_fingerprint_cert_match" List = "", Honoured("smtp"),
        "SMTP client: fingerprints of servers' certificates.";
    SMTP_TLS_FINGERPRINT_DIGEST "smtp_tls_fingerprint_digest" Text = "${{$compatibility_level} <level {3.6} ? {md5} : {sha256}}", Honoured("smtp"),
        "SMTP client: the digest by which certificates are compared.";
    SMTP_TLS_FORCE_INSECURE_HOST_TLSA_LOOKUP "smtp_tls_force_insecure_host_tlsa_lookup" Bool = "no", WithoutEffect("DANE is not served yet"),
        "SMTP client: whether TLSA records are looked up for hosts without DNSSEC.";
    SMTP_TLS_KEY_FILE "smtp_tls_key_file" Text = "$smtp_tls_cert_file", Honoured("smtp"),
        "SMTP client: the key of the RSA certificate.";
    SMTP_TLS_LOGLEVEL "smtp_tls_loglevel" Int = "0", Honoured("smtp"),
        "SMTP client: how much of TLS is logged.";
    SMTP_TLS_MANDATORY_CIPHERS "smtp_tls_mandatory_ciphers" Text = "medium", WithoutEffect("all ciphers that are served are of the highest grade"),
        "SMTP client: the least grade of ciphers where TLS is required.";
    SMTP_TLS_MANDATORY_EXCLUDE_CIPHERS "smtp_tls_mandatory_exclude_ciphers" List = "", WithoutEffect("all ciphers that are served are of the highest grade"),
        "SMTP client: ciphers that are not used where TLS is required.";
    SMTP_TLS_MANDATORY_PROTOCOLS "smtp_tls_mandatory_protocols" Text = ">=TLSv1", Honoured("smtp"),
        "SMTP client: versions of TLS where it is required.";
    SMTP_TLS_NOTE_STARTTLS_OFFER "smtp_tls_note_starttls_offer" Bool = "no", Honoured("smtp"),
        "SMTP client: whether servers that offer TLS are logged.";
    SMTP_TLS_PER_SITE "smtp_tls_per_site" List = "", Refused { reason: "smtp_tls_policy_maps has taken its place", weakens: Weakens::Always },
        "SMTP client: tables of TLS use by server, the older form.";
    SMTP_TLS_POLICY_MAPS "smtp_tls_policy_maps" Maps = "", Honoured("smtp"),
        "SMTP client: tables of TLS policies by next hop.";
    SMTP_TLS_PROTOCOLS "smtp_tls_protocols" Text = ">=TLSv1", Honoured("smtp"),
        "SMTP client: versions of TLS where it is optional.";
    SMTP_TLS_SCERT_VERIFYDEPTH "smtp_tls_scert_verifydepth" Int = "9", WithoutEffect("chains are bounded by the library"),
        "SMTP client: how long the chain of a server's certificate may be.";
    SMTP_TLS_SECURE_CERT_MATCH "smtp_tls_secure_cert_match" List = "nexthop, dot-nexthop", Honoured("smtp"),
        "SMTP client: which names count at level secure.";
    SMTP_TLS_SECURITY_LEVEL "smtp_tls_security_level" Text = "", Honoured("smtp"),
        "SMTP client: whether TLS is used: none, may, encrypt and stricter.";
    SMTP_TLS_SERVERNAME "smtp_tls_servername" Text = "", Honoured("smtp"),
        "SMTP client: the name sent by SNI.";
    SMTP_TLS_SESSION_CACHE_DATABASE "smtp_tls_session_cache_database" Text = "", WithoutEffect("sessions are remembered in memory"),
        "SMTP client: the table of TLS sessions.";
    SMTP_TLS_SESSION_CACHE_TIMEOUT "smtp_tls_session_cache_timeout" Time(Seconds) = "3600s", WithoutEffect("servers say how long a session can be resumed"),
        "SMTP client: how long a TLS session can be resumed.";
    SMTP_TLS_TRUST_ANCHOR_FILE "smtp_tls_trust_anchor_file" List = "", Refused { reason: "public authorities only", weakens: Weakens::Never },
        "SMTP client: files of trust anchors instead of public authorities.";
    SMTP_TLS_VERIFY_CERT_MATCH "smtp_tls_verify_cert_match" List = "hostname", Honoured("smtp"),
        "SMTP client: which names count at level verify.";
    SMTP_TLS_WRAPPERMODE "smtp_tls_wrappermode" Bool = "no", Honoured("smtp"),
        "SMTP client: whether TLS begins before SMTP does.";
    SMTP_USE_TLS "smtp_use_tls" Bool = "no", Honoured("smtp"),
        "SMTP client: whether TLS is used where the other side can, the older form.";
    SMTPD_ENFORCE_TLS "smtpd_enforce_tls" Bool = "no", Refused { reason: "TLS is not served yet", weakens: Weakens::Always },
        "SMTP server: whether TLS is required, the older form.";
    SMTPD_STARTTLS_TIMEOUT "smtpd_starttls_timeout" Time(Seconds) = "${stress?{10}:{300}}s", WithoutEffect("TLS is not served yet"),
        "SMTP server: the longest wait in a TLS handshake.";
    SMTPD_TLS_CAFILE "smtpd_tls_CAfile" Text = "", WithoutEffect("TLS is not served yet"),
        "SMTP server: a file of trusted certification authorities.";
    SMTPD_TLS_CAPATH "smtpd_tls_CApath" Text = "", WithoutEffect("TLS is not served yet"),
        "SMTP server: a directory of trusted certification authorities.";
    SMTPD_TLS_ALWAYS_ISSUE_SESSION_IDS "smtpd_tls_always_issue_session_ids" Bool = "yes", WithoutEffect("TLS is not served yet"),
        "SMTP server: whether sessions get an id even if they cannot be resumed.";
    SMTPD_TLS_ASK_CCERT "smtpd_tls_ask_ccert" Bool = "no", WithoutEffect("TLS is not served yet"),
        "SMTP server: whether clients are asked for a certificate.";
    SMTPD_TLS_AUTH_ONLY "smtpd_tls_auth_only" Bool = "no", WithoutEffect("TLS is not served yet"),
        "SMTP server: whether clients may authenticate only under TLS.";
    SMTPD_TLS_CCERT_VERIFYDEPTH "smtpd_tls_ccert_verifydepth" Int = "9", WithoutEffect("TLS is not served yet"),
        "SMTP server: how long the chain of a client's certificate may be.";
    SMTPD_TLS_CERT_FILE "smtpd_tls_cert_file" Text = "", Refused { reason: "TLS is not served yet", weakens: Weakens::Never },
        "SMTP server: the RSA certificate of this system, in PEM form.";
    SMTPD_TLS_CHAIN_FILES "smtpd_tls_chain_files" List = "", Refused { reason: "TLS is not served yet", weakens: Weakens::Never },
        "SMTP server: files of keys and certificate chains.";
    SMTPD_TLS_CIPHERS "smtpd_tls_ciphers" Text = "medium", WithoutEffect("TLS is not served yet"),
        "SMTP server: the least grade of ciphers where TLS is optional.";
    SMTPD_TLS_DCERT_FILE "smtpd_tls_dcert_file" Text = "", WithoutEffect("TLS is not served yet"),
        "SMTP server: the DSA certificate of this system.";
    SMTPD_TLS_DH1024_PARAM_FILE "smtpd_tls_dh1024_param_file" Text = "", WithoutEffect("TLS is not served yet"),
        "SMTP server: a file of Diffie-Hellman parameters.";
    SMTPD_TLS_DH512_PARAM_FILE "smtpd_tls_dh512_param_file" Text = "", WithoutEffect("TLS is not served yet"),
        "SMTP server: a file of export-grade Diffie-Hellman parameters.";
    SMTPD_TLS_DKEY_FILE "smtpd_tls_dkey_file" Text = "$smtpd_tls_dcert_file", WithoutEffect("TLS is not served yet"),
        "SMTP server: the key of the DSA certificate.";
    SMTPD_TLS_ECCERT_FILE "smtpd_tls_eccert_file" Text = "", Refused { reason: "TLS is not served yet", weakens: Weakens::Never },
        "SMTP server: the ECDSA certificate of this system.";
    SMTPD_TLS_ECKEY_FILE "smtpd_tls_eckey_file" Text = "$smtpd_tls_eccert_file", WithoutEffect("TLS is not served yet"),
        "SMTP server: the key of the ECDSA certificate.";
    SMTPD_TLS_EECDH_GRADE "smtpd_tls_eecdh_grade" Text = "auto", WithoutEffect("TLS is not served yet"),
        "SMTP server: the strength of elliptic curves.";
    SMTPD_TLS_EXCLUDE_CIPHERS "smtpd_tls_exclude_ciphers" List = "", WithoutEffect("TLS is not served yet"),
        "SMTP server: ciphers that are never used.";
    SMTPD_TLS_FINGERPRINT_DIGEST "smtpd_tls_fingerprint_digest" Text = "${{$compatibility_level} <level {3.6} ? {md5} : {sha256}}", WithoutEffect("TLS is not served yet"),
        "SMTP server: the digest by which certificates are compared.";
    SMTPD_TLS_KEY_FILE "smtpd_tls_key_file" Text = "$smtpd_tls_cert_file", WithoutEffect("TLS is not served yet"),
        "SMTP server: the key of the RSA certificate.";
    SMTPD_TLS_LOGLEVEL "smtpd_tls_loglevel" Int = "0", WithoutEffect("TLS is not served yet"),
        "SMTP server: how much of TLS is logged.";
    SMTPD_TLS_MANDATORY_CIPHERS "smtpd_tls_mandatory_ciphers" Text = "medium", WithoutEffect("TLS is not served yet"),
        "SMTP server: the least grade of ciphers where TLS is required.";
    SMTPD_TLS_MANDATORY_EXCLUDE_CIPHERS "smtpd_tls_mandatory_exclude_ciphers" List = "", WithoutEffect("TLS is not served yet"),
        "SMTP server: ciphers that are not used where TLS is required.";
    SMTPD_TLS_MANDATORY_PROTOCOLS "smtpd_tls_mandatory_protocols" Text = ">=TLSv1", WithoutEffect("TLS is not served yet"),
        "SMTP server: versions of TLS where it is required.";
    SMTPD_TLS_PROTOCOLS "smtpd_tls_protocols" Text = ">=TLSv1", WithoutEffect("TLS is not served yet"),
        "SMTP server: versions of TLS where it is optional.";
    SMTPD_TLS_RECEIVED_HEADER "smtpd_tls_received_header" Bool = "no", WithoutEffect("TLS is not served yet"),
        "SMTP server: whether the Received header tells of TLS.";
    SMTPD_TLS_REQ_CCERT "smtpd_tls_req_ccert" Bool = "no", Refused { reason: "TLS is not served yet", weakens: Weakens::Always },
        "SMTP server: whether clients must show a certificate.";
    SMTPD_TLS_SECURITY_LEVEL "smtpd_tls_security_level" Text = "", Refused { reason: "TLS is not served yet", weakens: Weakens::Unless(&["may"]) },
        "SMTP server: whether TLS is used: none, may, encrypt and stricter.";
    SMTPD_TLS_SESSION_CACHE_DATABASE "smtpd_tls_session_cache_database" Text = "", WithoutEffect("TLS is not served yet"),
        "SMTP server: the table of TLS sessions.";
    SMTPD_TLS_SESSION_CACHE_TIMEOUT "smtpd_tls_session_cache_timeout" Time(Seconds) = "3600s", WithoutEffect("TLS is not served yet"),
        "SMTP server: how long a TLS session can be resumed.";
    SMTPD_TLS_WRAPPERMODE "smtpd_tls_wrappermode" Bool = "no", Refused { reason: "TLS is not served yet", weakens: Weakens::Always },
        "SMTP server: whether TLS begins before SMTP does.";
    SMTPD_USE_TLS "smtpd_use_tls" Bool = "no", Refused { reason: "TLS is not served yet", weakens: Weakens::Never },
        "SMTP server: whether TLS is used where the other side can, the older form.";
    TLS_APPEND_DEFAULT_CA "tls_append_default_CA" Bool = "no", WithoutEffect("TLS is not served yet"),
        "Whether the system's authorities are trusted too.";
    TLS_CONFIG_FILE "tls_config_file" Text = "default", WithoutEffect("TLS is not served yet"),
        "The configuration file of the TLS library.";
    TLS_CONFIG_NAME "tls_config_name" Text = "", WithoutEffect("TLS is not served yet"),
        "The name under which the TLS library finds its configuration.";
    TLS_DAEMON_RANDOM_BYTES "tls_daemon_random_bytes" Int = "32", WithoutEffect("TLS is not served yet"),
        "How many random bytes a process asks for.";
    TLS_DANE_DIGESTS "tls_dane_digests" List = "sha512 sha256", WithoutEffect("TLS is not served yet"),
        "Digests that DANE accepts, the best first.";
    TLS_DISABLE_WORKAROUNDS "tls_disable_workarounds" List = "", WithoutEffect("TLS is not served yet"),
        "Work-arounds in the TLS library that are switched off.";
    TLS_EECDH_AUTO_CURVES "tls_eecdh_auto_curves" List = "X25519 X448 prime256v1 secp521r1 secp384r1", WithoutEffect("TLS is not served yet"),
        "Elliptic curves in order of preference.";
    TLS_EECDH_STRONG_CURVE "tls_eecdh_strong_curve" Text = "prime256v1", WithoutEffect("TLS is not served yet"),
        "The curve of strong grade.";
    TLS_EECDH_ULTRA_CURVE "tls_eecdh_ultra_curve" Text = "secp384r1", WithoutEffect("TLS is not served yet"),
        "The curve of ultra grade.";
    TLS_EXPORT_CIPHERLIST "tls_export_cipherlist" Text = "aNULL:-aNULL:HIGH:MEDIUM:LOW:EXPORT:+RC4:@STRENGTH", WithoutEffect("TLS is not served yet"),
        "Ciphers of export grade.";
    TLS_FAST_SHUTDOWN_ENABLE "tls_fast_shutdown_enable" Bool = "yes", WithoutEffect("TLS is not served yet"),
        "Whether a session is closed without waiting for the other side.";
    TLS_HIGH_CIPHERLIST "tls_high_cipherlist" Text = "aNULL:-aNULL:HIGH:@STRENGTH", WithoutEffect("TLS is not served yet"),
        "Ciphers of high grade.";
    TLS_LEGACY_PUBLIC_KEY_FINGERPRINTS "tls_legacy_public_key_fingerprints" Bool = "no", WithoutEffect("TLS is not served yet"),
        "Whether older fingerprints of keys are accepted.";
    TLS_LOW_CIPHERLIST "tls_low_cipherlist" Text = "aNULL:-aNULL:HIGH:MEDIUM:LOW:+RC4:@STRENGTH", WithoutEffect("TLS is not served yet"),
        "Ciphers of low grade.";
    TLS_MEDIUM_CIPHERLIST "tls_medium_cipherlist" Text = "aNULL:-aNULL:HIGH:MEDIUM:+RC4:@STRENGTH", WithoutEffect("TLS is not served yet"),
        "Ciphers of medium grade.";
    TLS_NULL_CIPHERLIST "tls_null_cipherlist" Text = "eNULL:!aNULL", WithoutEffect("TLS is not served yet"),
        "Ciphers without encryption.";
    TLS_PREEMPT_CIPHERLIST "tls_preempt_cipherlist" Bool = "no", WithoutEffect("TLS is not served yet"),
        "Whether the server's preference of ciphers rules.";
    TLS_RANDOM_BYTES "tls_random_bytes" Int = "32", WithoutEffect("TLS is not served yet"),
        "How many random bytes are taken from the source.";
    TLS_RANDOM_EXCHANGE_NAME "tls_random_exchange_name" Text = "${data_directory}/prng_exch", WithoutEffect("TLS is not served yet"),
        "The file in which random state is kept.";
    TLS_RANDOM_PRNG_UPDATE_PERIOD "tls_random_prng_update_period" Time(Seconds) = "3600s", WithoutEffect("TLS is not served yet"),
        "How often random state is saved.";
    TLS_RANDOM_RESEED_PERIOD "tls_random_reseed_period" Time(Seconds) = "3600s", WithoutEffect("TLS is not served yet"),
        "How often the random source is read again.";
    TLS_RANDOM_SOURCE "tls_random_source" Text = "dev:/dev/urandom", WithoutEffect("TLS is not served yet"),
        "The source of random bytes.";
    TLS_SERVER_SNI_MAPS "tls_server_sni_maps" Maps = "", WithoutEffect("TLS is not served yet"),
        "Tables of certificates by name.";
    TLS_SESSION_TICKET_CIPHER "tls_session_ticket_cipher" Text = "aes-256-cbc", WithoutEffect("TLS is not served yet"),
        "The cipher of session tickets.";
    TLS_SSL_OPTIONS "tls_ssl_options" List = "", WithoutEffect("TLS is not served yet"),
        "Options of the TLS library.";
    TLS_WILDCARD_MATCHES_MULTIPLE_LABELS "tls_wildcard_matches_multiple_labels" Bool = "yes", WithoutEffect("TLS is not served yet"),
        "Whether a wildcard in a certificate stands for several labels.";
    TLSPROXY_CLIENT_CAFILE "tlsproxy_client_CAfile" Text = "$smtp_tls_CAfile", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtp_tls_CAfile.";
    TLSPROXY_CLIENT_CAPATH "tlsproxy_client_CApath" Text = "$smtp_tls_CApath", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtp_tls_CApath.";
    TLSPROXY_CLIENT_CERT_FILE "tlsproxy_client_cert_file" Text = "$smtp_tls_cert_file", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtp_tls_cert_file.";
    TLSPROXY_CLIENT_CHAIN_FILES "tlsproxy_client_chain_files" List = "$smtp_tls_chain_files", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtp_tls_chain_files.";
    TLSPROXY_CLIENT_DCERT_FILE "tlsproxy_client_dcert_file" Text = "$smtp_tls_dcert_file", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtp_tls_dcert_file.";
    TLSPROXY_CLIENT_DKEY_FILE "tlsproxy_client_dkey_file" Text = "$smtp_tls_dkey_file", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtp_tls_dkey_file.";
    TLSPROXY_CLIENT_ECCERT_FILE "tlsproxy_client_eccert_file" Text = "$smtp_tls_eccert_file", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtp_tls_eccert_file.";
    TLSPROXY_CLIENT_ECKEY_FILE "tlsproxy_client_eckey_file" Text = "$smtp_tls_eckey_file", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtp_tls_eckey_file.";
    TLSPROXY_CLIENT_ENFORCE_TLS "tlsproxy_client_enforce_tls" Bool = "$smtp_enforce_tls", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtp_enforce_tls.";
    TLSPROXY_CLIENT_FINGERPRINT_DIGEST "tlsproxy_client_fingerprint_digest" Text = "$smtp_tls_fingerprint_digest", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtp_tls_fingerprint_digest.";
    TLSPROXY_CLIENT_KEY_FILE "tlsproxy_client_key_file" Text = "$smtp_tls_key_file", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtp_tls_key_file.";
    TLSPROXY_CLIENT_LOGLEVEL "tlsproxy_client_loglevel" Int = "$smtp_tls_loglevel", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtp_tls_loglevel.";
    TLSPROXY_CLIENT_LOGLEVEL_PARAMETER "tlsproxy_client_loglevel_parameter" Text = "smtp_tls_loglevel", WithoutEffect("there is no TLS proxy"),
        "The name of the parameter that set the log level.";
    TLSPROXY_CLIENT_PER_SITE "tlsproxy_client_per_site" List = "$smtp_tls_per_site", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtp_tls_per_site.";
    TLSPROXY_CLIENT_POLICY_MAPS "tlsproxy_client_policy_maps" Maps = "${tlsproxy_client_policy:$smtp_tls_policy_maps}", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtp_tls_policy_maps.";
    TLSPROXY_CLIENT_SCERT_VERIFYDEPTH "tlsproxy_client_scert_verifydepth" Int = "$smtp_tls_scert_verifydepth", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtp_tls_scert_verifydepth.";
    TLSPROXY_CLIENT_SECURITY_LEVEL "tlsproxy_client_security_level" Text = "${tlsproxy_client_level:$smtp_tls_security_level}", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtp_tls_security_level.";
    TLSPROXY_CLIENT_USE_TLS "tlsproxy_client_use_tls" Bool = "$smtp_use_tls", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtp_use_tls.";
    TLSPROXY_ENFORCE_TLS "tlsproxy_enforce_tls" Bool = "$smtpd_enforce_tls", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_enforce_tls.";
    TLSPROXY_TLS_CAFILE "tlsproxy_tls_CAfile" Text = "$smtpd_tls_CAfile", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_CAfile.";
    TLSPROXY_TLS_CAPATH "tlsproxy_tls_CApath" Text = "$smtpd_tls_CApath", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_CApath.";
    TLSPROXY_TLS_ALWAYS_ISSUE_SESSION_IDS "tlsproxy_tls_always_issue_session_ids" Bool = "$smtpd_tls_always_issue_session_ids", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_always_issue_session_ids.";
    TLSPROXY_TLS_ASK_CCERT "tlsproxy_tls_ask_ccert" Bool = "$smtpd_tls_ask_ccert", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_ask_ccert.";
    TLSPROXY_TLS_CCERT_VERIFYDEPTH "tlsproxy_tls_ccert_verifydepth" Int = "$smtpd_tls_ccert_verifydepth", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_ccert_verifydepth.";
    TLSPROXY_TLS_CERT_FILE "tlsproxy_tls_cert_file" Text = "$smtpd_tls_cert_file", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_cert_file.";
    TLSPROXY_TLS_CHAIN_FILES "tlsproxy_tls_chain_files" List = "$smtpd_tls_chain_files", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_chain_files.";
    TLSPROXY_TLS_CIPHERS "tlsproxy_tls_ciphers" Text = "$smtpd_tls_ciphers", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_ciphers.";
    TLSPROXY_TLS_DCERT_FILE "tlsproxy_tls_dcert_file" Text = "$smtpd_tls_dcert_file", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_dcert_file.";
    TLSPROXY_TLS_DH1024_PARAM_FILE "tlsproxy_tls_dh1024_param_file" Text = "$smtpd_tls_dh1024_param_file", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_dh1024_param_file.";
    TLSPROXY_TLS_DH512_PARAM_FILE "tlsproxy_tls_dh512_param_file" Text = "$smtpd_tls_dh512_param_file", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_dh512_param_file.";
    TLSPROXY_TLS_DKEY_FILE "tlsproxy_tls_dkey_file" Text = "$smtpd_tls_dkey_file", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_dkey_file.";
    TLSPROXY_TLS_ECCERT_FILE "tlsproxy_tls_eccert_file" Text = "$smtpd_tls_eccert_file", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_eccert_file.";
    TLSPROXY_TLS_ECKEY_FILE "tlsproxy_tls_eckey_file" Text = "$smtpd_tls_eckey_file", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_eckey_file.";
    TLSPROXY_TLS_EECDH_GRADE "tlsproxy_tls_eecdh_grade" Text = "$smtpd_tls_eecdh_grade", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_eecdh_grade.";
    TLSPROXY_TLS_EXCLUDE_CIPHERS "tlsproxy_tls_exclude_ciphers" List = "$smtpd_tls_exclude_ciphers", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_exclude_ciphers.";
    TLSPROXY_TLS_FINGERPRINT_DIGEST "tlsproxy_tls_fingerprint_digest" Text = "$smtpd_tls_fingerprint_digest", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_fingerprint_digest.";
    TLSPROXY_TLS_KEY_FILE "tlsproxy_tls_key_file" Text = "$smtpd_tls_key_file", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_key_file.";
    TLSPROXY_TLS_LOGLEVEL "tlsproxy_tls_loglevel" Int = "$smtpd_tls_loglevel", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_loglevel.";
    TLSPROXY_TLS_MANDATORY_CIPHERS "tlsproxy_tls_mandatory_ciphers" Text = "$smtpd_tls_mandatory_ciphers", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_mandatory_ciphers.";
    TLSPROXY_TLS_MANDATORY_EXCLUDE_CIPHERS "tlsproxy_tls_mandatory_exclude_ciphers" List = "$smtpd_tls_mandatory_exclude_ciphers", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_mandatory_exclude_ciphers.";
    TLSPROXY_TLS_MANDATORY_PROTOCOLS "tlsproxy_tls_mandatory_protocols" Text = "$smtpd_tls_mandatory_protocols", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_mandatory_protocols.";
    TLSPROXY_TLS_PROTOCOLS "tlsproxy_tls_protocols" Text = "$smtpd_tls_protocols", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_protocols.";
    TLSPROXY_TLS_REQ_CCERT "tlsproxy_tls_req_ccert" Bool = "$smtpd_tls_req_ccert", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_req_ccert.";
    TLSPROXY_TLS_SECURITY_LEVEL "tlsproxy_tls_security_level" Text = "$smtpd_tls_security_level", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_tls_security_level.";
    TLSPROXY_USE_TLS "tlsproxy_use_tls" Bool = "$smtpd_use_tls", WithoutEffect("there is no TLS proxy"),
        "The TLS proxy's smtpd_use_tls.";
    TLSPROXY_WATCHDOG_TIMEOUT "tlsproxy_watchdog_timeout" Time(Seconds) = "10s", WithoutEffect("there is no TLS proxy"),
        "How long the TLS proxy may take for one step.";
}
