//! What must hold of the sources and documents themselves: the map is true, the walls between the rooms stand, the
//! licences fit, nothing unfinished or local is committed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::process::Command;

use ringpost_tests::repository::{files, read, root};
use serde_json::Value;

/// Rust sources of these packages may hold `unsafe`.
const UNSAFE_ROOMS: &[&str] = &["reactor/"];

/// Which of our packages each may depend on to run (what only its tests need is not counted).
const ARROWS: &[(&str, &[&str])] = &[
    ("ringpost-core", &[]),
    ("ringpost-reactor", &[]),
    ("ringpost-spool", &["ringpost-reactor"]),
    ("ringpost-tables", &["ringpost-core", "ringpost-reactor"]),
    ("ringpost-tls", &["ringpost-reactor"]),
    (
        "ringpost-shards",
        &["ringpost-core", "ringpost-reactor", "ringpost-spool", "ringpost-tables", "ringpost-tls"],
    ),
    ("ringpost-loadgen", &[]),
    ("ringpost", &["ringpost-core", "ringpost-shards", "ringpost-tables"]),
];

/// Licences whose terms let a program under MIT OR Apache-2.0 be passed on with them.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Longer files are named in the output: a second noun may be hiding there.
const LINES_WORTH_A_LOOK: usize = 600;

fn rust_sources() -> impl Iterator<Item = String> {
    files().into_iter().filter(|path| path.ends_with(".rs"))
}

/// The code of a line: without comments that take the whole line or its end.
fn code_of(line: &str) -> &str {
    match line.find("//") {
        Some(start) if !line[..start].contains('"') => &line[..start],
        _ => line,
    }
}

fn assert_none(faults: &[String], what: &str) {
    assert!(faults.is_empty(), "{what}:\n{}", faults.join("\n"));
}

#[test]
fn the_map_names_only_paths_that_exist() {
    let map = read("ARCHITECTURE.md");
    let rooms = [
        "core",
        "reactor",
        "spool",
        "tables",
        "tls",
        "shards",
        "loadgen",
        "bench",
        "tests",
        "src",
        "scripts",
        "docs",
        "packaging",
    ];
    let is_separator = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-'));
    let mut faults = Vec::new();
    for word in map.split(is_separator) {
        let path = word.trim_end_matches(['.', '/', ',']);
        let Some((first, rest)) = path.split_once('/') else { continue };
        if !rooms.contains(&first) || rest.is_empty() {
            continue;
        }
        // The map may leave `src/` out of a crate's path, as people do: core/smtpd is core/src/smtpd.
        let inside = format!("{first}/src/{rest}");
        let candidates = [path.to_owned(), inside.clone(), format!("{path}.rs"), format!("{inside}.rs")];
        if !candidates.iter().any(|candidate| root().join(candidate).exists()) {
            faults.push(format!("ARCHITECTURE.md: {path}"));
        }
    }
    assert_none(&faults, "these paths do not exist");
}

#[test]
fn unsafe_lives_in_the_reactor_only() {
    let mut faults = Vec::new();
    for path in rust_sources().filter(|path| !UNSAFE_ROOMS.iter().any(|room| path.starts_with(room))) {
        for (index, line) in read(&path).lines().enumerate() {
            // Built from two pieces so that this line is not its own finding.
            let keyword = concat!("un", "safe");
            let is_word =
                code_of(line).split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == keyword);
            if is_word && !path.ends_with("tidy.rs") {
                faults.push(format!("{path}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    assert_none(&faults, "only the reactor may be unsafe");
}

#[test]
fn nothing_unfinished_is_committed() {
    let mut faults = Vec::new();
    let macros = ["todo!", "unimplemented!", "dbg!"];
    let words = ["FIXME", "XXX:", "TODO"];
    for path in rust_sources().filter(|path| !path.ends_with("tidy.rs")) {
        for (index, line) in read(&path).lines().enumerate() {
            let unfinished = macros.iter().any(|name| code_of(line).contains(name))
                || words.iter().any(|word| line.contains(word));
            if unfinished {
                faults.push(format!("{path}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    assert_none(&faults, "finish it or file it");
}

#[test]
fn nothing_local_is_committed() {
    // Each in two pieces, so that this file is not its own finding.
    let marks = [
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/wo", "rk/"),
        concat!("/tmp/", "wt"),
        concat!("/tmp/", "target"),
        concat!("index.", "crates.io"),
        concat!("static.", "crates.io"),
        concat!("deb.", "debian.org"),
        concat!("registry.", "npmjs"),
        concat!("py", "pi.org"),
    ];
    let mut faults = Vec::new();
    for path in files().into_iter().filter(|path| path != "Cargo.lock" && !path.starts_with("LICENSE")) {
        // A file of arbitrary bytes (a fuzzing corpus) says nothing of this machine.
        let Ok(text) =
            String::from_utf8(std::fs::read(root().join(&path)).expect("a listed file can be read"))
        else {
            continue;
        };
        for (index, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                faults.push(format!("{path}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    assert_none(&faults, "paths of one machine and hosts of registries do not belong here");
}

#[test]
fn core_has_no_sockets_files_threads_or_clock() {
    let forbidden = ["std::fs", "std::thread", "std::process", "Instant::now", "SystemTime::now", "std::env"];
    let mut faults = Vec::new();
    for path in rust_sources().filter(|path| path.starts_with("core/src/")) {
        let text = read(&path);
        // Tests may read sample files.
        let production = text.split("#[cfg(test)]").next().unwrap_or("");
        for (index, line) in production.lines().enumerate() {
            let code = code_of(line);
            let net = code.contains("std::net::")
                && !["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "AddrParseError", "{"]
                    .iter()
                    .any(|plain| code.contains(plain));
            let socket = ["TcpStream", "TcpListener", "UdpSocket", "UnixStream"]
                .iter()
                .any(|name| code.contains(name));
            if net || socket || forbidden.iter().any(|name| code.contains(name)) {
                faults.push(format!("{path}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    assert_none(&faults, "core decides and never performs");
}

#[test]
fn a_parameter_that_is_called_honoured_is_read() {
    // Read by expanding other parameters and by the configuration's own rules.
    const EXPANDED: &[&str] = &[
        "COMPATIBILITY_LEVEL",
        "DATA_DIRECTORY",
        "MAIL_VERSION",
        "MULTI_INSTANCE_NAME",
        "MYDOMAIN",
        "MYNETWORKS_STYLE",
        "REJECT_TEMPFAIL_ACTION",
        "SERVICE_NAME",
        "STRESS",
    ];
    const TABLE: &str = "core/src/config/parameters/";
    let (table, code): (Vec<String>, Vec<String>) = rust_sources()
        .filter(|path| path.contains("src/") && !path.starts_with("tests/"))
        .partition(|path| path.starts_with(TABLE));
    let code: Vec<String> = code.iter().map(|path| read(path)).collect();
    let read_names: BTreeSet<&str> = code
        .iter()
        .flat_map(|text| text.split("names::").skip(1))
        .map(|rest| rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or(""))
        .collect();
    let mut faults = Vec::new();
    for path in table {
        for (index, line) in read(&path).lines().enumerate() {
            let name = line.trim().split(' ').next().unwrap_or("");
            if line.contains(" Honoured(") && !read_names.contains(name) && !EXPANDED.contains(&name) {
                faults.push(format!("{path}:{}: {name}", index + 1));
            }
        }
    }
    assert_none(&faults, "nobody reads these parameters");
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs this test, so it can be run");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or("")
}

#[test]
fn dependencies_between_the_rooms_point_one_way() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("metadata lists packages");
    let mut faults = Vec::new();
    for (name, allowed) in ARROWS {
        let package = packages.iter().find(|package| text(package, "name") == *name);
        let package = package.unwrap_or_else(|| panic!("no package {name}"));
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let (to, is_ours) = (text(dependency, "name"), text(dependency, "name").starts_with("ringpost"));
            // Dependencies of tests ("dev") do not make the shipped code point back.
            if is_ours && dependency["kind"].is_null() && !allowed.contains(&to) {
                faults.push(format!("{name} → {to}"));
            }
        }
    }
    assert_none(&faults, "these dependencies are not in the design");
}

/// Whether one of the alternatives of an SPDX expression (`OR`, `/`) consists of fitting licences only (`AND`).
fn fits(expression: &str) -> bool {
    let flat = expression.replace(['(', ')'], " ").replace('/', " OR ");
    // "(A OR B) AND C" asks for C with A or B: judged by its parts, each of which must fit.
    flat.split(" AND ").all(|part| part.split(" OR ").any(|licence| LICENCES.contains(&licence.trim())))
}

#[test]
fn licence_expressions_are_judged_as_they_are_meant() {
    for good in [
        "MIT",
        "MIT OR Apache-2.0",
        "MIT/Apache-2.0",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "LGPL-2.1-or-later OR MIT",
    ] {
        assert!(fits(good), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-2.0", "MPL-2.0", ""] {
        assert!(!fits(bad), "{bad}");
    }
}

/// The packages that are built into `root_package`, by name.
fn built_into(metadata: &Value, root_package: &str) -> BTreeSet<String> {
    let packages = metadata["packages"].as_array().expect("metadata lists packages");
    let id_of = |name: &str| {
        packages
            .iter()
            .find(|package| text(package, "name") == name)
            .map(|package| text(package, "id").to_owned())
    };
    let names: BTreeMap<&str, &str> =
        packages.iter().map(|package| (text(package, "id"), text(package, "name"))).collect();
    let nodes: BTreeMap<&str, &Value> = metadata["resolve"]["nodes"]
        .as_array()
        .expect("metadata has a graph")
        .iter()
        .map(|node| (text(node, "id"), node))
        .collect();
    let mut seen = BTreeSet::new();
    let mut waiting = VecDeque::from([id_of(root_package).expect("the package is in the workspace")]);
    while let Some(id) = waiting.pop_front() {
        if !seen.insert(id.clone()) {
            continue;
        }
        for dependency in nodes[id.as_str()]["deps"].as_array().into_iter().flatten() {
            let runs =
                dependency["dep_kinds"].as_array().into_iter().flatten().any(|kind| kind["kind"] != "dev");
            if runs {
                waiting.push_back(text(dependency, "pkg").to_owned());
            }
        }
    }
    seen.iter().filter_map(|id| names.get(id.as_str()).map(|name| (*name).to_owned())).collect()
}

#[test]
fn the_licence_of_every_dependency_fits() {
    // Weak copyleft that reaches only the package's own files, in the load generator that nobody ships (glommio).
    const LOADGEN_ONLY: &[&str] = &["bitmaps"];
    let metadata = metadata();
    let shipped = built_into(&metadata, "ringpost");
    let mut faults = Vec::new();
    for package in metadata["packages"].as_array().expect("metadata lists packages") {
        let (name, licence) = (text(package, "name"), text(package, "license"));
        let excused = LOADGEN_ONLY.contains(&name) && !shipped.contains(name);
        if !fits(licence) && !excused {
            faults.push(format!("{name}: {licence:?}"));
        }
    }
    assert_none(&faults, "these licences do not go with MIT OR Apache-2.0");
}

#[test]
fn documents_name_only_targets_that_the_makefile_has() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(target, _)| target)
        .filter(|target| !target.is_empty() && !target.starts_with(['.', '\t', '#', ' ']))
        .collect();
    let mut faults = Vec::new();
    for path in files()
        .into_iter()
        .filter(|path| path.ends_with(".md") || path.starts_with("scripts/") || path == ".ci/run")
    {
        for (index, line) in read(&path).lines().enumerate() {
            for piece in line.split('`').skip(1).step_by(2) {
                let mut words = piece.split_whitespace();
                if words.next() != Some("make") {
                    continue;
                }
                let Some(target) = words.find(|word| !word.contains('=')) else { continue };
                if !targets.contains(target) {
                    faults.push(format!("{path}:{}: make {target}", index + 1));
                }
            }
        }
    }
    assert_none(&faults, "the Makefile has no such target");
}

#[test]
fn every_script_can_be_run_and_every_target_has_its_script() {
    use std::os::unix::fs::PermissionsExt;
    let mut faults = Vec::new();
    for line in read("Makefile").lines().filter(|line| line.starts_with('\t')) {
        for word in line.split_whitespace() {
            let path = word.trim_start_matches('@');
            if let Some(name) = path.strip_prefix("scripts/") {
                let mode = std::fs::metadata(root().join(path)).map(|metadata| metadata.permissions().mode());
                if !mode.is_ok_and(|mode| mode & 0o111 != 0) {
                    faults.push(format!("scripts/{name} is missing or not executable"));
                }
            }
        }
    }
    assert_none(&faults, "the Makefile calls what cannot be run");
}

#[test]
fn long_files_are_named() {
    for path in rust_sources() {
        let lines = read(&path).lines().count();
        if lines > LINES_WORTH_A_LOOK {
            println!("{path} has {lines} lines: is a second noun hiding there?");
        }
    }
}
