//! postconf as text in, text out. That each of these is what Postfix prints is proved by `tests/tests/postconf.rs`.

use ringpost_core::config::HostFacts;
use ringpost_core::config::postconf::{
    Action, FileText, Files, Options, Said, Subject, Surroundings, bytes_of, edit_main, edit_master, show,
    text_of,
};

fn words(line: &str) -> impl Iterator<Item = String> {
    line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned)
}

/// What `postconf LINE` prints on these files, and its warnings; or the fatal error.
fn shown(main: &str, master: &str, line: &str) -> Result<(String, Vec<String>), String> {
    let options = Options::read(words(line)).map_err(|error| error.fatal)?;
    let host = HostFacts::loopback("vm");
    let load = |_: &str| Err("No such file or directory".to_owned());
    let surroundings = Surroundings { host: &host, process_id: 7, load: &load };
    let files = Files {
        directory: "cf",
        main: FileText { name: "cf/main.cf", text: Ok(main) },
        master: FileText { name: "cf/master.cf", text: Ok(master) },
    };
    let mut said = Said::default();
    show(&options, files, surroundings, &mut said)?;
    Ok((said.out, said.warnings))
}

fn edited(text: &str, line: &str) -> Result<String, String> {
    let options = Options::read(words(line)).map_err(|error| error.fatal)?;
    let mut said = Said::default();
    match options.subject {
        Subject::Main => edit_main(options.action, &options.words, "main.cf", text, &mut said),
        subject => edit_master(subject, options.action, &options.words, "master.cf", text, &mut said),
    }
}

#[test]
fn set_parameters_are_shown_and_unused_ones_told() {
    let main = "# c\nmyorigin = $mine\n  x\nmine=1\nrelayhots = b\n";
    let (out, warnings) = shown(main, "", "-n").expect("sound");
    assert_eq!(out, "config_directory = cf\nmine = 1\nmyorigin = $mine x\n");
    assert_eq!(warnings, ["cf/main.cf: unused parameter: relayhots=b"]);
    let (out, _) = shown(main, "", "-x myorigin").expect("sound");
    assert_eq!(out, "myorigin = 1 x\n");
    let (out, warnings) = shown(main, "", "nosuch").expect("sound");
    assert_eq!(out, "");
    assert_eq!(warnings[0], "nosuch: unknown parameter");
}

#[test]
fn our_own_parameters_are_listed_like_any_other() {
    let (out, warnings) =
        shown("ringpost_shards = 2\n", "", "-n ringpost_shards ringpost_drain_limit").expect("sound");
    assert_eq!((out.as_str(), warnings.len()), ("ringpost_shards = 2\n", 0));
    let (out, _) = shown("", "", "-d").expect("sound");
    assert!(out.contains("\nringpost_drain_limit = 10s\n"));
}

#[test]
fn services_have_parameters_of_their_own() {
    let master = "slow unix - - n - - smtp\n";
    let (out, warnings) =
        shown("slow_destination_rate_delay = 1s\n", master, "-n -C service").expect("sound");
    assert_eq!((out.as_str(), warnings.len()), ("slow_destination_rate_delay = 1s\n", 0));
    let (out, _) = shown("", master, "-x slow_destination_concurrency_limit").expect("sound");
    assert_eq!(out, "slow_destination_concurrency_limit = 20\n");
}

#[test]
fn what_does_not_go_together_is_said() {
    for (line, fatal) in [
        ("-d -n", "specify one of -d -n"),
        ("-M -h", "with option -M, do not specify -h"),
        ("-n a=b", "specify one of -e -n"),
        ("-X", "missing service argument"),
        ("-C nosuch", "unknown -C option value \"nosuch\" in \"nosuch\""),
    ] {
        assert_eq!(shown("", "", line).expect_err(line), fatal);
    }
    assert_eq!(
        shown("x\n", "", "-n").expect_err("no ="),
        "cf/main.cf, line 1: missing '=' after attribute name: \"x\""
    );
}

#[test]
fn edits_keep_what_they_do_not_name() {
    let main = "# a\nmyorigin = a\n b\n # in\n  c\nrelayhost=x\n";
    assert_eq!(edited(main, "myorigin=new"), Ok("# a\nmyorigin = new\n # in\nrelayhost=x\n".into()));
    assert_eq!(edited(main, "-# myorigin"), Ok("# a\n#myorigin = a\n# b\n # in\n#  c\nrelayhost=x\n".into()));
    assert_eq!(edited(main, "-X relayhost"), Ok("# a\nmyorigin = a\n b\n # in\n  c\n".into()));
    assert_eq!(edited("a = 1", "b=2"), Ok("a = 1\nb = 2\n".into()), "a last line without its end gets one");
}

#[test]
fn edits_of_services_lay_them_out_anew() {
    let master = "# a\nsmtp inet n - n - - smtpd\n  -o x=y\n# b\nqmgr unix n - n 300 1 qmgr\n";
    let expected = "# a\n# b\nsmtp       inet  n       -       y       -       -       smtpd\n    -o x=y\n\
                    qmgr unix n - n 300 1 qmgr\n";
    assert_eq!(edited(master, "-F smtp/inet/chroot=y").as_deref(), Ok(expected));
    assert!(edited(master, "-F smtp/inet/chroot=").is_err(), "no entry is broken");
    assert!(edited(master, "-F smtp/inet/command=").is_err(), "no entry is broken");
    let text = edited(master, "-P smtp/inet/x=z").expect("sound");
    assert!(text.contains("    -o x=z\n"), "{text}");
}

#[test]
fn every_byte_survives() {
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(bytes_of(&text_of(&bytes)), bytes);
    let options = Options::read(words("-X nothing")).expect("sound");
    assert_eq!(options.action, Action::Delete);
    let text = text_of(b"a = \xff\x00\r\nb = \xe9");
    let same = edit_main(options.action, &options.words, "main.cf", &text, &mut Said::default());
    assert_eq!(same.map(|text| bytes_of(&text)), Ok(b"a = \xff\x00\r\nb = \xe9".to_vec()));
}
