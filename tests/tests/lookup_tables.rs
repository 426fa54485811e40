//! postmap and postalias beside Debian's: the same files and words give the same output, messages and exit codes.
//!
//! What differs on purpose: the file of `hash` and `btree` is ours (`.ringdb` for `.db`), Postfix lists tables that have
//! no order in the order of its own hashing (compared as sets), and the times in alias files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use ringpost_tests::engine::binary;
use ringpost_tests::peers::postfix_tool;
use ringpost_tests::scratch::Scratch;
use ringpost_tests::skip;

/// The two programs, each in a directory of its own with the same files.
struct Pair {
    scratch: Scratch,
    tools: PathBuf,
    faults: Vec<String>,
    compared: usize,
}

/// Most of the calls wait after their fatal error.
const CALLS_AT_A_TIME: usize = 16;

/// Exit code, standard output, standard error.
type Said = (Option<i32>, String, String);

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Exact,
    Any,
}

impl Pair {
    fn new(name: &str) -> Result<Pair, String> {
        let tool = postfix_tool("postmap")?;
        let tools = tool.parent().expect("a tool is in a directory").to_owned();
        let tree = tools.parent().expect("the tools are in a directory").join("tree");
        // Debian packs these kinds of tables apart; peers of an older unpacking lack them.
        if !tree.join("usr/lib/postfix/postfix-lmdb.so").exists() {
            let reason = "Postfix is here without postfix-lmdb: run scripts/install-test-needs";
            assert!(std::env::var_os("RINGPOST_REQUIRE_PEERS").is_none(), "{reason}");
            return Err(reason.to_owned());
        }
        let scratch = Scratch::new(name);
        let pair = Pair { scratch, tools, faults: Vec::new(), compared: 0 };
        let main_cf = "compatibility_level = 3.6\n";
        pair.put_in("ours", "conf/main.cf", main_cf.as_bytes());
        let (conf, queue) = (pair.directory("theirs").join("conf"), pair.directory("theirs").join("queue"));
        let main_cf = format!(
            "{main_cf}shlib_directory = {}\nmeta_directory = {}\nqueue_directory = {}\n",
            tree.join("usr/lib/postfix").display(),
            conf.display(),
            queue.display()
        );
        pair.put_in("theirs", "conf/main.cf", main_cf.as_bytes());
        let kinds = "lmdb\tpostfix-lmdb.so\tdict_lmdb_open\tmkmap_lmdb_open\n\
                     cdb\tpostfix-cdb.so\tdict_cdb_open\tmkmap_cdb_open\npcre\tpostfix-pcre.so\tdict_pcre_open\n";
        pair.put_in("theirs", "conf/dynamicmaps.cf", kinds.as_bytes());
        fs::create_dir_all(queue).expect("the scratch directory is writable");
        Ok(pair)
    }

    fn directory(&self, whose: &str) -> PathBuf {
        self.scratch.join(whose)
    }

    fn put_in(&self, whose: &str, name: &str, text: &[u8]) {
        let path = self.directory(whose).join(name);
        fs::create_dir_all(path.parent().expect("it lies in a directory"))
            .expect("the scratch directory is writable");
        fs::write(path, text).expect("the scratch directory is writable");
    }

    fn put(&self, name: &str, text: &str) {
        self.put_in("ours", name, text.as_bytes());
        self.put_in("theirs", name, text.as_bytes());
    }

    fn start(program: &Path, before: &[&str], words: &[&str], directory: &Path, input: &str) -> Child {
        let mut child = Command::new(program)
            .args(before)
            .args(["-c", "conf"])
            .args(words)
            .current_dir(directory)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", program.display()));
        // A program that ends without reading is told by its answer.
        let _ = child.stdin.take().expect("it was asked for").write_all(input.as_bytes());
        child
    }

    fn end_of(child: Child) -> Said {
        let output = child.wait_with_output().expect("a started child ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    fn said(&self, tool: &str, words: &[&str], input: &str, order: Order) -> [Said; 2] {
        // Both wait a second after a fatal error: at the same time.
        let ours = Pair::start(&binary(), &[tool], words, &self.directory("ours"), input);
        let theirs = Pair::start(&self.tools.join(tool), &[], words, &self.directory("theirs"), input);
        let (mut ours, mut theirs) = (Pair::end_of(ours), Pair::end_of(theirs));
        ours.2 = ours.2.replace(".ringdb", ".db");
        for said in [&mut ours, &mut theirs] {
            let mut lines: Vec<&str> = said
                .1
                .lines()
                .filter(|line| !line.starts_with("YP_LAST_MODIFIED:") && !line.starts_with("YP_MASTER_NAME:"))
                .collect();
            if order == Order::Any {
                lines.sort_unstable();
            }
            said.1 = lines.join("\n");
            // PCRE2 counts the place of an error differently from version to version; the library's own remark about a
            // file comes with no name.
            let told: Vec<String> = said
                .2
                .lines()
                .filter(|line| !line.starts_with("BDB"))
                .map(|line| match (line.find(" at offset "), line.rfind(": ")) {
                    (Some(start), Some(end)) if start < end => format!("{}{}", &line[..start], &line[end..]),
                    _ => line.to_owned(),
                })
                .collect();
            said.2 = told.join("\n");
        }
        [ours, theirs]
    }

    fn compare(&mut self, tool: &str, words: &[&str], input: &str, order: Order) {
        let [ours, theirs] = self.said(tool, words, input, order);
        self.judge(tool, words, &ours, &theirs);
    }

    fn postmap(&mut self, words: &[&str]) {
        self.compare("postmap", words, "", Order::Exact);
    }

    /// Calls of postmap that change nothing, several at a time.
    fn postmap_each(&mut self, calls: &[&[&str]]) {
        for batch in calls.chunks(CALLS_AT_A_TIME) {
            let said: Vec<[Said; 2]> = thread::scope(|scope| {
                let asked =
                    batch.iter().map(|words| scope.spawn(|| self.said("postmap", words, "", Order::Exact)));
                let asked: Vec<_> = asked.collect();
                asked.into_iter().map(|call| call.join().expect("a call ends")).collect()
            });
            for (words, [ours, theirs]) in batch.iter().zip(said) {
                self.judge("postmap", words, &ours, &theirs);
            }
        }
    }

    fn judge(&mut self, tool: &str, words: &[&str], ours: &Said, theirs: &Said) {
        self.compared += 1;
        if ours != theirs {
            self.faults.push(format!("{tool} {}\n  ours   {ours:?}\n  theirs {theirs:?}", words.join(" ")));
        }
    }

    fn end(self, at_least: usize) {
        assert!(self.compared >= at_least, "{} were compared", self.compared);
        assert!(self.faults.is_empty(), "{} differ:\n{}", self.faults.len(), self.faults.join("\n"));
    }
}

const TABLE: &str =
    "A@b 1 2\nc@d  x y  \n# c\nA@B dup\nfoo\nk: v\n\"q q\"@x val\n\"unb x\n cont\n é \u{c4}ä x\nlast 1";

#[test]
fn tables_are_built_asked_changed_and_listed_as_by_postfix() {
    let pairs =
        ["hash", "btree", "lmdb", "cdb", "texthash"].map(|kind| Pair::new(kind).map(|pair| (kind, pair)));
    if let Err(reason) = &pairs[0] {
        skip!("{reason}");
    }
    thread::scope(|scope| {
        for (kind, mut pair) in pairs.into_iter().flatten() {
            scope.spawn(move || {
                go_through(kind, &mut pair);
                pair.end(30);
            });
        }
    });
}

fn go_through(kind: &str, pair: &mut Pair) {
    pair.put("t", TABLE);
    pair.put("empty", "");
    let (table, empty) = (&*format!("{kind}:t"), &*format!("{kind}:empty"));
    let list = |pair: &mut Pair| pair.compare("postmap", &["-s", table], "", Order::Any);
    pair.postmap(&[table]);
    list(pair);
    for key in ["A@B", "nope", "k:", "\"q q\"@x"] {
        pair.postmap(&["-q", key, table]);
    }
    pair.postmap(&["-q", "x", &format!("{kind}:nofile")]);
    pair.postmap(&["-s", &format!("{kind}:nofile")]);
    pair.postmap(&["-d", "nope", table]);
    pair.postmap(&["-d", "A@B", table]);
    list(pair);
    for (option, lines) in [("-i", "a 1\nc@d z\n"), ("-ir", "a 2\nc@d z\n"), ("-iw", "a 3\nq 2\n")] {
        pair.compare("postmap", &[option, table], lines, Order::Exact);
        list(pair);
    }
    pair.compare("postmap", &["-q", "-", table], "a\nC@D\nnone\n", Order::Exact);
    pair.compare("postmap", &["-d", "-", table], "a\nnone\n", Order::Exact);
    pair.compare("postmap", &["-d", "-", table], "none\n", Order::Exact);
    list(pair);
    pair.postmap(&[empty]);
    pair.compare("postmap", &["-s", empty], "", Order::Any);
    for option in ["-n", "-N", "-f", "-r", "-w", "-o", "-p"] {
        pair.postmap(&[option, table]);
        list(pair);
    }
}

#[test]
fn tables_without_a_file_of_their_own_answer_as_postfix_does() {
    let mut pair = match Pair::new("postmap-kinds") {
        Ok(pair) => pair,
        Err(reason) => skip!("{reason}"),
    };
    pair.put("t", TABLE);
    pair.put("files", "k content\nk2 content, content\nk3 /nofile\n");
    pair.put("content", "secret\n");
    let calls: &[&[&str]] = &[
        &["-q", "x", "static:{a b}"],
        &["-q", "x", "static:a b"],
        &["-q", "x", "inline:{x=y"],
        &["-q", "x", "inline:{x y}"],
        &["-q", "x", "inline:{}"],
        &["-q", "x", "inline:x"],
        &["-q", "C", "inline:{b=1,a=2,{c = 3 4},a=5}"],
        &["-q", "X", "inline:{x=}"],
        &["-q", "x", "fail:x"],
        &["-q", "x", "foo:bar"],
        &["-q", "x", "unionmap:{static:a,static:b,inline:{x=z}}"],
        &["-q", "x", "pipemap:{static:a,inline:{a=c}}"],
        &["-q", "x", "pipemap:{inline:{a=c},static:a}"],
        &["-q", "x", "randmap:{only}"],
        &["-q", "x", "randmap:a"],
        &["-q", "x", "unionmap:a"],
        &["-q", "x", "unionmap:{}"],
        &["-q", "x", "unionmap:{a}"],
        &["-q", "x", "unionmap:{foo:a}"],
        &["-q", "x", "pipemap:{texthash:/nofile}"],
        &["-q", "x", "regexp:/nofile"],
        &["-q", "x", "pcre:/nofile"],
        &["-q", "x", "cidr:/nofile"],
        &["-q", "root", "unix:passwd.byname"],
        &["-q", "root", "unix:group.byname"],
        &["-q", "root", "unix:foo"],
        &["-q", "x", "nis:foo"],
        &["-q", "x", "internal:foo"],
        &["-q", "nothing", "environ:x"],
        &["nofile"],
        &["hash:nofile"],
        &[],
        &["-z"],
        &["-q"],
        &["-q", "a", "-d", "b", "t"],
        &["-s", "-q", "a", "t"],
        &["-b", "t"],
        &["-h", "-s", "t"],
        &["static:t"],
        &["inline:t"],
        &["regexp:t"],
        &["proxy:t"],
        &["-s", "static:t"],
        &["-q", "a"],
        &["-s"],
        &["-q", "a", ":t"],
        &["-"],
        &["hash:"],
    ];
    pair.postmap_each(calls);
    // The first makes what the others ask.
    for words in [&["-F", "files"][..], &["-F", "-q", "k", "files"], &["-q", "k2", "files"]] {
        pair.postmap(words);
    }
    pair.compare("postmap", &["-Fs", "files"], "", Order::Any);
    pair.compare("postmap", &["-s", "inline:{b=1,a=2,{c = 3 4},a=5}"], "", Order::Any);
    pair.end(50);
}

/// Rules of every sort, sound and unsound.
const RULES: &str = "/^a(.*)b(.)$/ x $1 ${2} $(1)z $$\n/unc(losed/ x\n/unk/q y\n/x/y\nnonsense\n/noclose\n!/neg/ $1\n\
    /a(b)/ $2\n/a/ $0\n/a/ $x\n/empty/\nif /foo/ x\n/fooz/ z\nif !/bar/\n/foo1/ one\nendif\nendif  trailing\nendif\n\
    /[[:foo:]]/ x\n/(/ x\n/*a/ star\n/[z-a]/ x\n/\\(lit\\)/ lit\n/k\\/l/ slash\n!!/zz/ dbl\n!/./ emptykey\n#/comment/ x\n\
    |pipe| piped\n/(b|bb)(c|bcd)?(d*)$/ $1,$2,$3\n/(g?)(gh)?(.*)i/ $1,$2,$3\n/^x*$/m multi\n/([a-z]+)\\1/ back\n/^[[:upper:]]+$/i capitals\n\
    /^[]-]$/ bracket\n/^q{2,3}$/ many\n/^(r)(s)?$/ <$1><$2>\n/\\.t$/ dot\nif /never\n";

#[test]
fn patterns_and_networks_match_as_in_postfix() {
    let mut pair = match Pair::new("postmap-patterns") {
        Ok(pair) => pair,
        Err(reason) => skip!("{reason}"),
    };
    pair.put("rules", RULES);
    let keys = "aXbY\nq\nfoo\nfooz\nfoo1\nfoobar1\nk/l\nzz\npipe\nabc\nbbcd\nghi\nxx\ntata\nABC\n]\nqq\nqqqq\nrs\nr\na.t\n\n(lit)\nÿé\n";
    for kind in ["regexp", "pcre"] {
        pair.compare("postmap", &["-q", "-", &format!("{kind}:rules")], keys, Order::Exact);
        for key in ["aXbY", "", "none of them"] {
            pair.postmap(&["-q", key, &format!("{kind}:rules")]);
        }
    }
    pair.put(
        "networks",
        "# c\n1.2.3.4 A\n1.2.3.0/24 B\n!10.0.0.0/8 notten\n1.2.3.4/24 bad\nfoo C\nif 10.1.0.0/16\n10.1.2.0/24 D\n\
         if !10.1.3.0/24\n10.1.0.0/16 E $1\nendif\nendif x\nendif\n2001:db8::/32 F\n[2001:db9::]/32 G\n[1.1.1.1] H\n\
         5.5.5.5\n1.2.3.0/33 x\n1.2.3.0/x y\nif foo\n::/0 all\nif 1.2.3.4\n",
    );
    let keys = "1.2.3.4\n1.2.3.5\n9.9.9.9\n10.1.2.3\n10.1.3.4\n10.1.4.4\n10.2.2.2\n2001:db8::1\n2001:DB9:0:0::2\n1.1.1.1\n\
                ::1\nfoo\n[::1]\n01.2.3.4\n::ffff:1.2.3.4\n\n";
    pair.compare("postmap", &["-q", "-", "cidr:networks"], keys, Order::Exact);

    pair.put("every", "/^(.*)$/ <$1>\n");
    let messages = [
        "From: a@b\nSubject: x\n y\nReceived: from z\n\nbody 1\n body2\n",
        "From: a@b\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"XX\"\nSubject: s\n\npreamble\n--XX\n\
         Content-Type: text/plain\nX-A: b\n c\n\npart body\n--XX\nContent-Type: message/rfc822\n\nFrom: nested\nSubject: n\n\n\
         nested body\n--XX--\nepilogue\n",
        "From x y\nA: b\nnoheader\nC: d\n\nx\n",
        "A: b",
        "\nbody\n",
        "",
    ];
    for message in messages {
        for option in ["-h", "-b", "-hb", "-m", "-bm", "-hm", "-hbm"] {
            pair.compare("postmap", &[option, "-q", "-", "regexp:every"], message, Order::Exact);
        }
    }
    pair.end(40);
}

#[test]
fn alias_files_are_read_as_by_postfix() {
    let mut pair = match Pair::new("postalias") {
        Ok(pair) => pair,
        Err(reason) => skip!("{reason}"),
    };
    pair.put(
        "aliases",
        "# c\nroot: a, b\n c@d\n\"q r\": x\nFoo : \"|cmd a b\", :include:/x\nfoo: dup\nbad\nempty:\ntwo words: x\na@b: z\n\
         owner-x: y (comment)\nb\\@c: d\nk: a, \"b c\", <d@e>, /file, x y\nlist:;\na:1\nA: 2\n: x\n :y\na : : b\nc;d: e\n\
         (x) p: q\nx@y: 1\n<z>: 1\nx.y: 1\n\"a\\\"b\": c\nr:a:b\ns: \"\n",
    );
    for kind in ["hash", "btree", "lmdb", "cdb"] {
        let table = &*format!("{kind}:aliases");
        let list = |pair: &mut Pair| pair.compare("postalias", &["-s", table], "", Order::Any);
        pair.compare("postalias", &[table], "", Order::Exact);
        list(&mut pair);
        for key in ["root", "FOO", "@", "YP_LAST_MODIFIED", "q r", "none"] {
            pair.compare("postalias", &["-q", key, table], "", Order::Exact);
        }
        pair.compare("postalias", &["-i", table], "n: 1\nroot: z\n", Order::Exact);
        pair.compare("postalias", &["-ir", table], "n: 2\nroot: z\n", Order::Exact);
        pair.compare("postalias", &["-q", "-", table], "n\nroot\nzz\n", Order::Exact);
        pair.compare("postalias", &["-d", "root", table], "", Order::Exact);
        list(&mut pair);
    }
    for words in [&["-h", "aliases"][..], &[], &["nofile"], &["static:x"], &["-F", "x"], &["proxy:x"]] {
        pair.compare("postalias", words, "", Order::Exact);
    }
    pair.compare("postalias", &["-s", "texthash:aliases"], "", Order::Any);
    pair.end(50);
}

#[test]
fn each_reads_what_the_other_wrote() {
    let pair = match Pair::new("postmap-cross") {
        Ok(pair) => pair,
        Err(reason) => skip!("{reason}"),
    };
    let many: String = (0..3000)
        .map(|n| format!("user{n}@example{}.com value {n} {}\n", n % 7, "x".repeat(n % 2500)))
        .collect();
    for kind in ["lmdb", "cdb"] {
        let table = &*format!("{kind}:many");
        pair.put("many", &many);
        for said in pair.said("postmap", &[table], "", Order::Exact) {
            assert_eq!((said.0, said.2.as_str()), (Some(0), ""));
        }
        let (ours, theirs) = (pair.directory("ours"), pair.directory("theirs"));
        let file = format!("many.{kind}");
        let swap = pair.scratch.join("swap");
        fs::rename(ours.join(&file), &swap).expect("it was built");
        fs::rename(theirs.join(&file), ours.join(&file)).expect("it was built");
        fs::rename(&swap, theirs.join(&file)).expect("it was built");
        let keys: String = (0..3010).map(|n| format!("user{n}@example{}.com\n", n % 7)).collect();
        let [our_answer, their_answer] = pair.said("postmap", &["-q", "-", table], &keys, Order::Exact);
        assert_eq!(our_answer.1.lines().count(), 3000);
        assert_eq!(our_answer, their_answer, "{kind}");
        if kind == "lmdb" {
            // liblmdb changes a file of ours, and we read what it made of it.
            let [changed_ours, changed_theirs] =
                pair.said("postmap", &["-i", table], "new 1\nzzz 2\n", Order::Exact);
            assert_eq!(changed_ours, changed_theirs);
            fs::rename(ours.join(&file), &swap).expect("it is there");
            fs::rename(theirs.join(&file), ours.join(&file)).expect("it is there");
            fs::rename(&swap, theirs.join(&file)).expect("it is there");
            let [our_list, their_list] = pair.said("postmap", &["-s", table], "", Order::Exact);
            assert_eq!(our_list.1.lines().count(), 3002);
            assert_eq!(our_list, their_list);
        }
    }
}

#[test]
fn check_names_the_command_that_a_table_wants() {
    let scratch = Scratch::new("check-tables");
    let (source, conf) = (scratch.join("transport"), scratch.join("conf"));
    fs::write(&source, "example.com smtp:[127.0.0.1]\n").expect("the scratch directory is writable");
    fs::create_dir_all(&conf).expect("the scratch directory is writable");
    let table = format!("hash:{}", source.display());
    fs::write(conf.join("main.cf"), format!("transport_maps = {table}\n"))
        .expect("the scratch directory is writable");
    let check = || {
        let output = Command::new(binary()).arg("check").arg("-c").arg(&conf).output();
        String::from_utf8_lossy(&output.expect("the binary runs").stdout).into_owned()
    };
    let said = check();
    assert!(said.contains(&format!("; run: postmap {table}\n")), "{said}");
    let built = Command::new(binary()).args(["postmap", &table]).status().expect("the binary runs");
    assert!(built.success());
    let said = check();
    assert!(said.contains(&format!("table {table}: found\n")), "{said}");
}
