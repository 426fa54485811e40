use std::fs;

use ringpost_core::lookup::LookupTrouble;

use super::*;

const FORMS: [(TableType, Form); 4] = [
    (TableType::Hash, Form::Hash),
    (TableType::Btree, Form::Btree),
    (TableType::Cdb, Form::Cdb),
    (TableType::Lmdb, Form::Lmdb),
];

/// A directory that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("ringpost-tables-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn name(&self) -> String {
        self.0.join("table").to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn entries(pairs: &[(String, String)]) -> Entries {
    let mut entries = Entries::default();
    for (key, value) in pairs {
        entries.add(key.as_bytes(), value.as_bytes());
    }
    entries
}

fn store_in(scratch: &Scratch, form: Form, entries: &mut Entries) {
    for terminated in [false, true] {
        let how = Storing { source: SourceFacts::default(), ownership: Ownership::Mode(0o640), terminated };
        store(form, &scratch.name(), entries, &how).unwrap();
    }
}

fn opened(scratch: &Scratch, (kind, form): (TableType, Form)) -> Indexed {
    let spec = TableSpec { kind, name: scratch.name() };
    open(&spec, form, &TableOptions::default(), &Notes::default()).unwrap()
}

fn numbered(count: usize) -> Vec<(String, String)> {
    let value = |index: usize| match index % 97 {
        0 => "long ".repeat(index % 1000 + 400),
        _ => format!("value {index}"),
    };
    (0..count)
        .map(|index| (format!("user{}@example{}.com", index * 7919 % count, index % 13), value(index)))
        .collect()
}

#[test]
fn every_form_gives_back_what_was_put_in() {
    for (kind, form) in FORMS {
        for count in [0, 1, 2, 40, 5000] {
            let scratch = Scratch::new(&format!("back-{}", kind.word()));
            let pairs = numbered(count);
            store_in(&scratch, form, &mut entries(&pairs));
            let table = opened(&scratch, (kind, form));
            for (key, value) in &pairs {
                assert_eq!(
                    table.find(&key.to_uppercase()).unwrap().as_deref(),
                    Some(value.as_str()),
                    "{form:?}"
                );
            }
            for absent in ["", "user", "user0@example0.co", "zzz", "user0@example0.comm"] {
                assert_eq!(table.find(absent), Ok(None), "{form:?} {absent}");
            }
            let mut again: Vec<(String, String)> = read_all(form, &scratch.name())
                .unwrap()
                .iter()
                .map(|(key, value)| {
                    (String::from_utf8(key.to_vec()).unwrap(), String::from_utf8(value.to_vec()).unwrap())
                })
                .collect();
            let mut expected = pairs;
            if matches!(form, Form::Btree | Form::Lmdb) {
                assert!(again.is_sorted());
                expected.sort();
            }
            if form == Form::Cdb {
                again.sort();
                expected.sort();
            }
            assert_eq!(again, expected, "{form:?}");
        }
    }
}

#[test]
fn a_damaged_file_is_trouble_and_never_a_crash() {
    // Every byte that matters in small files of every form, changed and cut off.
    for (kind, form) in FORMS {
        let scratch = Scratch::new(&format!("damaged-{}", kind.word()));
        let pairs = numbered(20);
        store_in(&scratch, form, &mut entries(&pairs));
        let path = form.path(&scratch.name());
        let sound = fs::read(&path).unwrap();
        let interesting: Vec<usize> =
            (0..sound.len()).filter(|&at| sound[at] != 0 || at % 61 == 0 || at < 256).collect();
        let mut wrong = Vec::new();
        for &at in &interesting {
            let mut damaged = sound.clone();
            damaged[at] ^= 0x55;
            fs::write(&path, &damaged).unwrap();
            try_all(&scratch, (kind, form), &pairs, &mut wrong);
            if at % 5 == 0 {
                fs::write(&path, &sound[..at]).unwrap();
                try_all(&scratch, (kind, form), &pairs, &mut wrong);
            }
        }
        // Our own form knows every damage; the others have no sums.
        if matches!(form, Form::Hash | Form::Btree) {
            assert_eq!(wrong, [] as [String; 0], "{form:?}");
        }
    }
}

fn try_all(
    scratch: &Scratch,
    (kind, form): (TableType, Form),
    pairs: &[(String, String)],
    wrong: &mut Vec<String>,
) {
    let spec = TableSpec { kind, name: scratch.name() };
    let Ok(table) = open(&spec, form, &TableOptions::default(), &Notes::default()) else { return };
    for (key, value) in pairs {
        match table.find(key) {
            Ok(Some(found)) if *found != **value => wrong.push(format!("{key}: {found}")),
            _ => {}
        }
    }
    let _ = table.list(&mut |_, _| Ok(()));
}

#[test]
fn a_file_that_is_cut_off_under_us_is_trouble() {
    for (kind, form) in FORMS {
        let scratch = Scratch::new(&format!("cut-{}", kind.word()));
        let pairs = numbered(3000);
        store_in(&scratch, form, &mut entries(&pairs));
        let table = opened(&scratch, (kind, form));
        let file = fs::OpenOptions::new().write(true).open(form.path(&scratch.name())).unwrap();
        file.set_len(8192).unwrap();
        let answers: Vec<Result<_, LookupTrouble>> = pairs.iter().map(|(key, _)| table.find(key)).collect();
        assert!(answers.iter().any(Result::is_err), "{form:?}");
        for (answer, (_, value)) in answers.iter().zip(&pairs) {
            assert!(
                answer.as_ref().is_err() || answer.as_ref().unwrap().as_deref() == Some(value),
                "{form:?}"
            );
        }
    }
}

#[test]
fn what_liblmdb_changes_in_place_is_seen_at_once() {
    use ringpost_core::lookup::{TableId, Tables, at_once};
    let scratch = Scratch::new("in-place");
    let path = Form::Lmdb.path(&scratch.name());
    let pair = |value: &str| [("key".to_owned(), value.to_owned())];
    store_in(&scratch, Form::Lmdb, &mut entries(&pair("new")));
    let mut newer = fs::read(&path).unwrap();
    store_in(&scratch, Form::Lmdb, &mut entries(&pair("old")));
    let spec = TableSpec { kind: TableType::Lmdb, name: scratch.name() };
    let catalogue = crate::Catalogue::open(&[spec], &TableOptions::default());
    let shelf = catalogue.shelf();
    let find = || at_once(shelf.lookup(TableId(0), "key")).unwrap().unwrap();
    assert_eq!(find().as_deref(), Some("old"));
    // The number of the last transaction, in the second of the meta pages; then the rest of the file.
    let at = 4096 + usize::try_from(lmdb::PAGE_HEADER_BYTES).unwrap() + 128;
    newer[at] += 1;
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &newer, 0).unwrap();
    assert_eq!(find().as_deref(), Some("new"));
}

#[test]
fn the_file_that_is_missing_names_the_command() {
    let scratch = Scratch::new("missing");
    fs::write(scratch.name(), "a b\n").unwrap();
    let spec = TableSpec { kind: TableType::Hash, name: scratch.name() };
    let error = open(&spec, Form::Hash, &TableOptions::default(), &Notes::default()).unwrap_err();
    assert!(
        error.ends_with(&format!("table.ringdb: No such file or directory; run: postmap {spec}")),
        "{error}"
    );
}

#[test]
fn entries_are_set_removed_and_sorted() {
    let mut entries = Entries::default();
    for key in ["b", "a", "c"] {
        assert_eq!(entries.add(key.as_bytes(), b"1"), Added::New);
    }
    assert_eq!(entries.add(b"a", b"2"), Added::Duplicate);
    assert_eq!(entries.set(b"c", b"3"), Added::Duplicate);
    assert!(entries.remove(b"b") && !entries.remove(b"b"));
    entries.sort();
    let all: Vec<_> = entries.iter().collect();
    assert_eq!(all, [(&b"a"[..], &b"1"[..]), (b"c", b"3")]);
    assert_eq!((entries.len(), entries.add(b"b", b"4")), (2, Added::New));
}

#[test]
fn an_entry_that_is_too_long_is_left_out() {
    let mut entries = Entries::default();
    // Zeros of the system: they take no memory until they are copied, which they are not.
    let long = vec![0; ENTRY_BYTES_MAX + 1];
    assert_eq!(entries.add(b"key", &long), Added::TooLong);
    assert_eq!(entries.add(&long, b"value"), Added::TooLong);
    assert_eq!(entries.set(&long, b"value"), Added::TooLong);
    assert!(entries.is_empty());
}

#[test]
fn a_lock_outlives_a_replaced_file() {
    let scratch = Scratch::new("lock");
    store_in(&scratch, Form::Hash, &mut Entries::default());
    let path = Form::Hash.path(&scratch.name());
    let lock = WriteLock::wait(&path).unwrap();
    let waiting = std::thread::spawn({
        let path = path.clone();
        move || WriteLock::wait(&path).map(|_| fs::metadata(&path).unwrap().len())
    });
    store_in(&scratch, Form::Hash, &mut entries(&numbered(3)));
    let length = fs::metadata(&path).unwrap().len();
    drop(lock);
    assert_eq!(waiting.join().unwrap().unwrap(), length);
}
